"""Which part of the training images is kept: a frozen value, read from a board, part of a task's name. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from sparsebench.errors import UsageError, unknown
from sparsebench.registry import example_score

ORDERS = ("hardest", "easiest")
BUDGETS = ("steps", "epochs")
RUNS = 10
"""Networks over which scores are averaged."""
EARLY = 0.1
"""Share of the epochs after which networks are scored if nothing is said."""
SCORING_SEED = 1000
"""Seed of the first scoring network; boards with diets have smaller ones, so no network chooses its own images."""
FIELDS = ("score", "epoch", "runs", "order", "skip", "budget", "keep", "tasks")


@dataclass(frozen=True)
class Diet:
    """A part of a task's training images.

    >>> Diet("digits-mlp", "el2n", 0.5, epoch=2, runs=10).task
    'digits-mlp~el2n@2~0.5'
    """

    of: str
    """The task with all images."""
    score: str
    keep: float
    """Share of the images that is kept."""
    epoch: int | None = None
    """Epochs of training before a network is scored (0 = at initialisation); None where the score needs no network."""
    runs: int | None = None
    """Networks over which scores are averaged; None likewise."""
    order: str = "hardest"
    """Which end of the scores is kept."""
    skip: float = 0.0
    """Share of all images at that end that is left out before."""
    budget: str = "steps"
    """``steps``: as many optimiser steps as with all images, ``epochs``: as many epochs."""

    @property
    def arm(self) -> str:
        """How images are chosen, without how many.

        >>> Diet("digits-mlp", "grand", 0.5, epoch=0, runs=1, order="easiest", skip=0.01, budget="epochs").arm
        'grand@0-runs1-easiest-skip0.01-epochs'
        """
        parts = [self.score if self.epoch is None else f"{self.score}@{self.epoch}"]
        parts += [f"runs{self.runs}"] if self.runs not in (None, RUNS) else []
        parts += [self.order] if self.order != ORDERS[0] else []
        parts += [f"skip{self.skip:g}"] if self.skip else []
        parts += [self.budget] if self.budget != BUDGETS[0] else []
        return "-".join(parts)

    @property
    def task(self) -> str:
        """The name of the task on this diet."""
        return f"{self.of}~{self.arm}~{self.keep:g}"

    @property
    def source(self) -> dict[str, Any] | None:
        """What decides the scores, beside the task with all images; None for a draw."""
        if self.kind == "seed":
            return None
        return {"score": self.score, "epoch": self.epoch, "seeds": self.seeds}

    @property
    def kind(self) -> str:
        return example_score.entry(self.score).traits["of"]

    @property
    def seeds(self) -> list[int]:
        """Seeds of the scoring networks."""
        return [SCORING_SEED + run for run in range(self.runs or 0)]

    def settings(self) -> dict[str, Any]:
        return asdict(self)


def arms(value: Any, keeps: Iterable[Any] | None) -> tuple[list[dict[str, Any]], list[float]]:
    """A board's ``diet`` and ``data_keep``: arms as mappings, and the shares to keep.

    Raises:
        UsageError: an unknown score or field, a share that is none, or one key without the other.

    >>> arms(["random", {"score": "el2n", "epoch": 4}], [1.0, 0.5])
    ([{'score': 'random'}, {'score': 'el2n', 'epoch': 4}], [1.0, 0.5])
    """
    if not isinstance(value, list) or not value:
        raise UsageError(f"diet is {value!r}; a list such as [random, {{score: el2n, epoch: 20}}] is wanted")
    found = []
    for arm in value:
        arm = {"score": arm} if isinstance(arm, str) else arm
        if not isinstance(arm, dict) or "score" not in arm:
            raise UsageError(f"diet: {arm!r} is neither a score nor a mapping with one: {{score: el2n, epoch: 20}}")
        for field in arm:
            if field not in FIELDS:
                raise unknown("field of a diet", str(field), FIELDS, ", ".join(FIELDS))
        if not isinstance(arm.get("tasks", []), list):
            raise UsageError(f"diet: tasks is {arm['tasks']!r}; a list of the board's tasks is wanted")
        example_score.entry(str(arm["score"]))
        found.append(arm)
    return found, shares(keeps)


def read(task: str, epochs: int, arm: dict[str, Any], keep: float) -> Diet:
    """One diet of a task that trains for so many epochs.

    Raises:
        UsageError: a value out of range, or one that the score has no use for.

    >>> read("digits-mlp", 20, {"score": "el2n"}, 0.5)
    Diet(of='digits-mlp', score='el2n', keep=0.5, epoch=2, runs=10, order='hardest', skip=0.0, budget='steps')
    """
    score, given = arm["score"], {key: value for key, value in arm.items() if key not in ("keep", "tasks")}
    diet = replace(Diet(task, score, keep), **given)
    needless = {"seed": ("epoch", "runs", "order", "skip"), "image": ("epoch", "runs")}.get(diet.kind, ())
    for field in needless:
        if field in given:
            raise UsageError(f"diet {score}: {field} has no meaning for it (it looks at {diet.kind}s); leave it out")
    if diet.kind in ("network", "training"):
        usual = max(1, round(EARLY * epochs)) if diet.kind == "network" else epochs
        diet = replace(
            diet,
            epoch=usual if diet.epoch is None else diet.epoch,
            runs=RUNS if diet.runs is None else diet.runs,
        )
        least = 0 if diet.kind == "network" else 1
        _whole("epoch", diet.epoch, least, epochs, score)
        _whole("runs", diet.runs, 1, None, score)
    for field, known in (("order", ORDERS), ("budget", BUDGETS)):
        if getattr(diet, field) not in known:
            raise unknown(f"{field} of a diet", str(getattr(diet, field)), known, ", ".join(known))
    if not _is_number(diet.skip) or not 0 <= diet.skip <= 1 - keep:
        raise UsageError(f"diet {score}: skip={diet.skip!r} is a share of all images and at most 1 - {keep:g}")
    return diet


def _whole(field: str, value: Any, least: int, most: int | None, score: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        to = "" if most is None else f" to {most}, the epochs of the training"
        raise UsageError(f"diet {score}: {field}={value!r} is not a whole number from {least}{to}")


def shares(values: Any) -> list[float]:
    """Shares of the training images, largest first.

    Raises:
        UsageError: not a list of shares.
    """
    for value in values if isinstance(values, list) and values else [values]:
        if not _is_number(value) or not 0 < value <= 1:
            raise UsageError(f"data_keep: {value!r} is not a share of the training images in (0, 1], in a list")
    return sorted({float(value) for value in values}, reverse=True)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
