"""Pooled: what judges of bias read from all trials of a setting together: class counts, predictions, a noise floor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from sparsebench.metrics.bias import pooled_bias
from sparsebench.metrics.predictions import unpacked
from sparsebench.papers.claims import NotTestable
from sparsebench.papers.estimate import Estimate
from sparsebench.papers.evidence import Evidence


def settings(e: Evidence, task: str) -> Iterator[tuple[str, float]]:
    """Method and sparsity of every pruned setting of a task."""
    for method in e.board.methods:
        if not method.is_dense and task in e.board.limits.get(method.name, (task,)):
            yield from ((method.name, sparsity) for sparsity in e.levels(task, method.name))


def tasks(e: Evidence, arm: str) -> list[str]:
    """The tasks for which a board has an arm."""
    name = e.name(arm)
    return [t.name for t in e.board.tasks if any(method == name for method, _ in settings(e, t.name))]


def arms(e: Evidence, *pairs: tuple[str, str]) -> list[tuple[str, tuple[str, str]]]:
    """Every task with the pair of an arm and its base that the board has for it, by the arm."""
    found = [(task, pair) for pair in pairs for task in tasks(e, pair[0])]
    if not found:
        raise NotTestable(f"the {e.scale} board has none of {', '.join(arm for arm, _ in pairs)}")
    return found


def counts(e: Evidence, task: str, method: str, sparsity: float) -> list[Mapping]:
    """Class counts, one a seed."""
    return [e.record(task=task, method=method, sparsity=sparsity, seed=seed)["per_class"] for seed in e.board.seeds]


def measured(e: Evidence, name: str, task: str, method: str, sparsity: float, seed: int) -> Mapping:
    found = e.record(task=task, method=method, sparsity=sparsity, seed=seed).get("measures", {}).get(name)
    if found is None:
        raise NotTestable(f"{task} {method} was run without the measure {name}")
    return found


def predicted(e: Evidence, task: str, method: str, sparsity: float) -> list[np.ndarray]:
    """Predicted classes of the test images, an array a seed."""
    each = [measured(e, "predictions", task, method, sparsity, seed) for seed in e.board.seeds]
    return [unpacked(kept["packed"], kept["classes"]) for kept in each]


def by_seed(e: Evidence, metric: str, task: str, places: Sequence[tuple[str, float]]) -> list[list[float]]:
    """A metric of every setting, a list a seed."""
    columns = [e.values(metric, task=task, method=method, sparsity=sparsity) for method, sparsity in places]
    return [[column[seed] for column in columns] for seed in e.board.seeds]


def noise_floor(e: Evidence, task: str) -> dict[str, list[float]]:
    """Smoothed CEV and SDE of the next seed's dense network against each seed's."""
    mine = counts(e, task, "dense", 0.0)
    each = [pooled_bias([b], [a], smoothed=True) for a, b in zip(mine, mine[1:] + mine[:1], strict=True)]
    return {"cev_s1": [one.cev for one in each], "sde_s1": [one.sde for one in each]}


def partial(x: Sequence[float], y: Sequence[float], given: Sequence[float]) -> float:
    """Correlation of x and y with what a line in ``given`` explains taken out of both.

    >>> round(partial([1, 2, 3, 4.5], [1, 2, 3, 3.5], [1, 2, 3, 4]), 2)
    -1.0
    """
    left = [np.asarray(v) - np.polyval(np.polyfit(given, v, 1), given) for v in (x, y)]
    return float(np.corrcoef(*left)[0, 1])


def jackknife(trials: Sequence[Mapping], dense: Sequence[Mapping], column: int) -> Estimate:
    """CEV or SDE of pooled rates in convention A; interval from leaving out one trial at a time."""

    def value(skip: int | None) -> float:
        parts = [[counts for i, counts in enumerate(group) if i != skip] for group in (trials, dense)]
        found = pooled_bias(*parts).convention_a[column]
        if found is None:
            raise NotTestable("a class has no errors in the dense networks: convention A is undefined")
        return found

    n, whole = len(trials), value(None)
    if n < 2:
        return Estimate(whole)
    spread = Estimate.of([n * whole - (n - 1) * value(i) for i in range(n)])
    half = spread.high - spread.value
    return Estimate(whole, whole - half, whole + half, n)
