"""Phases: the steps a regime is made of. Plain frozen values; the runner gives them their meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_args

from sparsebench.errors import UsageError

LATER: dict[str, Any] = {"invert": False, "ap": None, "distill": None, "unbalanced": None, "forgets": False}
"""Fields that were added later, with the values at which they are left out, so that older names of cells stay."""


class _Brief:
    """Written without the later fields that are not used."""

    def __repr__(self) -> str:
        shown = ((f.name, getattr(self, f.name)) for f in fields(self))
        used = (f"{name}={value!r}" for name, value in shown if name not in LATER or value != LATER[name])
        return f"{type(self).__name__}({', '.join(used)})"


@dataclass(frozen=True, repr=False)
class Scorer(_Brief):
    """A criterion with its arguments and the allocation that turns its scores into masks."""

    criterion: str
    allocation: str = "global"
    arguments: dict[str, Any] = field(default_factory=dict)
    source: str | None = None
    """Hash of a user's file; a changed file is another method."""
    invert: bool = False
    """Keep the lowest scores (a control)."""


@dataclass(frozen=True)
class Activating:
    """Spend a part of a pruning on weights whose removal activates units (AP)."""

    q: float
    """Share of the weights alive when the cycle began."""
    sign: str = "negative"
    score: str = "movement"
    whole: bool = False
    """All of this pruning, however much it is: the criterion had its own pruning before."""


@dataclass(frozen=True, repr=False)
class Gradual(_Brief):
    """Prune while training, along the cubic schedule (GMP)."""

    scorer: Scorer
    sparsity: float
    begin: float
    end: float
    every: int | None
    """Optimiser steps between updates; None = the task's."""
    ap: Activating | None = None


@dataclass(frozen=True)
class Dynamic:
    """Train sparse from the start and move weights (SET, RigL)."""

    rule: str
    sparsity: float
    allocation: str
    every: int | None
    fraction: float
    end: float


@dataclass(frozen=True)
class Latent:
    """Train sparse with dense latent weights behind the masked ones (Top-KAST, STR)."""

    rule: str
    sparsity: float
    allocation: str
    every: int | None
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Distill:
    """Learn from the dense network of the same task and seed: gamma CE + alpha T^2 KL + beta L_feature."""

    alpha: float
    temperature: float
    gamma: float
    feature: str = "none"
    beta: float = 0.0

    @property
    def needs_teacher(self) -> bool:
        return bool(self.alpha or self.beta)


@dataclass(frozen=True, repr=False)
class Train(_Brief):
    """Train from the present position of the schedule to its end (or to ``until``, a share of it).

    ``epochs`` scales the task's epochs. ``rate``: None follows the task's learning-rate schedule from the
    start (or from a rewind point); a number holds that share of the task's peak rate.
    """

    epochs: float = 1.0
    rate: float | None = None
    pruner: Gradual | Dynamic | Latent | None = None
    until: float = 1.0
    distill: Distill | None = None
    """A teacher beside the labels; the dense training's result."""
    unbalanced: str | None = None
    """Profile by which some classes keep a part of their training images, see ``sparsebench.data.unbalanced``."""
    forgets: bool = False
    """Count how often each training image is forgotten, see ``sparsebench.diet.forgetting``."""


@dataclass(frozen=True, repr=False)
class Prune(_Brief):
    """Mask down to a sparsity by a score of the present network."""

    sparsity: float
    scorer: Scorer
    ap: Activating | None = None


@dataclass(frozen=True)
class Rewind:
    """Restore the full state the dense training had after this share of its steps."""

    to: float = 0.0


@dataclass(frozen=True)
class Shuffle:
    """Permute each tensor's mask at random (sanity control)."""

    weights: str = "before pruning"
    """Weights that the moved mask keeps have the values they had before they were pruned."""


@dataclass(frozen=True)
class Reinit:
    """Draw new initial weights under the masks (sanity control)."""


@dataclass(frozen=True)
class Recalibrate:
    """Estimate batch-norm statistics anew on this many training images, without training."""

    examples: int = 1024


@dataclass(frozen=True)
class Narrow:
    """Begin with a narrower dense network, as large or as costly as the sparse one would be (small-dense control)."""

    sparsity: float
    match: str = "params"


Phase = Train | Prune | Rewind | Shuffle | Reinit | Recalibrate | Narrow


def describe(phase: Phase) -> dict[str, Any]:
    """A phase as JSON, for hashing and for the record.

    >>> describe(Rewind(0.1))
    {'phase': 'Rewind', 'to': 0.1}
    """
    described = {"phase": type(phase).__name__, **asdict(phase, dict_factory=_without_defaults)}
    if isinstance(phase, Train) and phase.pruner:
        described["pruner"] = {"kind": type(phase.pruner).__name__, **described["pruner"]}
    return described


def phase_of(described: Mapping[str, Any]) -> Phase:
    """The phase that ``describe`` described, as it stands in a record.

    Raises:
        UsageError: a phase, or a field of one, that this version does not have.

    >>> phase_of({"phase": "Rewind", "to": 0.1})
    Rewind(to=0.1)
    """
    fields = dict(described)
    try:
        kind = {phase.__name__: phase for phase in get_args(Phase)}[fields.pop("phase")]
        if fields.get("pruner"):
            pruner = dict(fields["pruner"])
            pruners = {p.__name__: p for p in (Gradual, Dynamic, Latent)}
            fields["pruner"] = pruners[pruner.pop("kind")](**_with_scorer(pruner))
        return kind(**_with_scorer(fields))
    except (KeyError, TypeError) as error:
        raise UsageError(f"phase {dict(described)!r} is not one that this version has ({error})") from None


def _with_scorer(fields: dict[str, Any]) -> dict[str, Any]:
    kinds = {"scorer": Scorer, "ap": Activating, "distill": Distill}
    return {**fields, **{key: kind(**fields[key]) for key, kind in kinds.items() if fields.get(key)}}


def _without_defaults(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in items if key not in LATER or value != LATER[key]}


def ladder(sparsity: float, rate: float) -> list[float]:
    """Sparsities that remove ``rate`` of the remaining weights each time, the last exactly as asked.

    Ladders to different ends share their rungs, so their trainings are shared too.

    >>> ladder(0.9, 0.5)
    [0.5, 0.75, 0.875, 0.9]
    """
    if not 0 < rate < 1:
        raise UsageError(f"rate={rate!r} is the share of weights removed each round and must be in (0, 1)")
    rungs, density = [], 1 - rate
    while density > (1 - sparsity) * (1 + 1e-9):
        rungs.append(round(1 - density, 12))
        density *= 1 - rate
    return [*rungs, sparsity]
