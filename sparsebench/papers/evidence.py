"""Evidence: the records of a recipe, asked for by task, method and sparsity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isclose
from typing import TYPE_CHECKING, Any

from sparsebench.papers.claims import NotTestable
from sparsebench.papers.estimate import Estimate
from sparsebench.papers.instead import label
from sparsebench.stats import paired_difference, spearman

if TYPE_CHECKING:
    from sparsebench.grid.board import Board


@dataclass(frozen=True)
class Evidence:
    """What was measured for a recipe at one scale.

    A metric is a key of a record's ``metrics``, or a dotted path into the record such as ``cost.epochs``. Accuracies
    are shares. Whatever is asked for and not there raises NotTestable: a claim is judged on complete evidence only.
    """

    scale: str
    board: Board
    records: Iterable[Mapping[str, Any]] = field(repr=False)
    instead: str = ""
    """``OLD=NEW`` where another data set than the recipe's was measured."""
    _cells: dict[tuple, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for record in self.records:
            if record["status"] == "ok":
                cell = record["cell"]
                self._cells[cell["task"], cell["method"], round(cell["sparsity"], 9), cell["seed"]] = record

    def values(self, metric: str = "top1", *, task: str, method: str, sparsity: float = 0.0) -> dict[int, float]:
        """A metric of every seed.

        Raises:
            NotTestable: the board has no such cells, one of them is missing, or it has no such value.
        """
        return {
            seed: _value(self.record(task=task, method=method, sparsity=sparsity, seed=seed), metric)
            for seed in self.board.seeds
        }

    def record(self, *, task: str, method: str, sparsity: float = 0.0, seed: int) -> Mapping[str, Any]:
        """One record."""
        name = self.name(method)
        sparsity = 0.0 if name == "dense" else sparsity
        what = f"{task} {name}" + (f" at {100 * sparsity:.4g} %" if sparsity else "")
        if task not in {t.name for t in self.board.tasks} or not self._planned(task, name, sparsity):
            raise NotTestable(f"the {self.scale} board has no {what}")
        try:
            return self._cells[task, name, round(sparsity, 9), seed]
        except KeyError:
            raise NotTestable(f"no record of {what}, seed {seed}: run it (or see why its cell failed)") from None

    def mean(self, metric: str = "top1", *, task: str, method: str, sparsity: float = 0.0) -> Estimate:
        """Mean over the seeds, with its interval."""
        return Estimate.of(self.values(metric, task=task, method=method, sparsity=sparsity))

    def paired(self, metric: str, a: str, b: str, *, task: str, sparsity: float) -> Estimate:
        """Mean of ``a - b`` over the seeds, with its interval; a dense arm has sparsity 0."""
        first, second = (self.values(metric, task=task, method=m, sparsity=sparsity) for m in (a, b))
        return Estimate(*paired_difference(first, second))

    def spearman(self, metric: str, *, task: str, method: str) -> Estimate:
        """Rank correlation of a metric with sparsity, one for each seed: their mean, with its interval."""
        levels = self.levels(task, method)
        each = [self.values(metric, task=task, method=method, sparsity=s) for s in levels]
        found = {seed: spearman(levels, [values[seed] for values in each]) for seed in self.board.seeds}
        if any(rho is None or rho != rho for rho in found.values()):
            raise NotTestable(f"{metric} of {task} {method} does not vary over the sparsities")
        return Estimate.of(found)

    def levels(self, task: str, method: str) -> list[float]:
        """The sparsities that the board has for a method."""
        name = self.name(method)
        found = [m for m in self.board.methods if m.name == name]
        if not found or task not in {t.name for t in self.board.tasks}:
            raise NotTestable(f"the {self.scale} board has no {task} {name}")
        return list(self.board.sparsities_of(found[0]))

    def name(self, method: str) -> str:
        """The canonical name of a method on this board."""
        from sparsebench.methods import parse

        return parse(method, self.board.defaults).name

    def exchanged(self, method: str, by: str) -> Evidence:
        """As if one method had given what another gave: a sabotage, to see whether a claim notices."""
        method, by = self.name(method), self.name(by)
        theirs = [{**r, "cell": {**r["cell"], "method": method}} for r in self.records if r["cell"]["method"] == by]
        kept = [r for r in self.records if r["cell"]["method"] != method]
        return Evidence(self.scale, self.board, [*kept, *theirs], self.instead)

    @property
    def stem(self) -> str:
        """How the names of this evidence's page, table and figures begin."""
        return self.scale + label(self.instead)

    def _planned(self, task: str, name: str, sparsity: float) -> bool:
        mine = [m for m in self.board.methods if m.name == name and task in self.board.limits.get(name, (task,))]
        return any(isclose(sparsity, s, abs_tol=1e-9) for m in mine for s in self.board.sparsities_of(m))


def _value(record: Mapping[str, Any], metric: str) -> float:
    found: Any = record if "." in metric else record["metrics"]
    for key in metric.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    if isinstance(found, bool) or not isinstance(found, int | float):
        cell = record["cell"]
        raise NotTestable(f"{metric} of {cell['task']} {cell['method']} seed {cell['seed']} is {found!r}")
    return float(found)
