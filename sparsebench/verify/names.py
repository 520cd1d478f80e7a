"""Names: the ids of a cell, its stages and its dense row, worked out anew from the settings in its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sparsebench.phases import Train, describe
from sparsebench.protocol import canonical

Described = Mapping[str, Any]
"""A phase as a record holds it."""


@dataclass(frozen=True)
class Link:
    """A stage as the settings of a cell say it must be."""

    id: str
    phases: tuple[Described, ...]
    history: tuple[Described, ...]
    """All phases up to its end, those of the stages before included."""
    parent: str | None
    rewind_point: str | None


def name_under(protocol: int, value: Any) -> str:
    """``protocol.name_of`` under any protocol: older records keep the names of theirs."""
    return sha256(canonical({"protocol": protocol, "value": value}).encode()).hexdigest()[:16]


def cell_name(data: Mapping[str, Any]) -> str:
    """The id of a record's cell."""
    return name_under(data["protocol"], data["settings"])


def dense_name(data: Mapping[str, Any]) -> str:
    """The id of the dense row that a record is compared with."""
    settings = {**data["settings"], "phases": [describe(Train())], "sparsity": 0.0}
    return name_under(data["protocol"], settings)


def chain(data: Mapping[str, Any]) -> list[Link]:
    """The stages of a record's cell, first to last."""
    links: list[Link] = []
    for phases in _runs(data["settings"]["phases"]):
        before = links[-1] if links else None
        history = (*(before.history if before else ()), *phases)
        point = [_point(data, phase["to"]).id for phase in phases if phase["phase"] == "Rewind" and phase["to"] > 0]
        name = _stage_name(data, _runs(history))
        links.append(Link(name, phases, history, before and before.id, point[-1] if point else None))
    return links


def rewind_points(data: Mapping[str, Any]) -> list[Link]:
    """The stages that recorded what a cell rewinds to, each once."""
    shares = [p["to"] for p in data["settings"]["phases"] if p["phase"] == "Rewind" and p["to"] > 0]
    return [_point(data, share) for share in dict.fromkeys(shares)]


def _point(data: Mapping[str, Any], share: float) -> Link:
    phases = (describe(Train(until=share)),)
    return Link(_stage_name(data, [phases]), phases, phases, None, None)


def _stage_name(data: Mapping[str, Any], runs: Any) -> str:
    settings = data["settings"]
    value = {"task": settings["task"], "seed": settings["seed"], "history": [list(run) for run in runs]}
    return name_under(data["protocol"], value)


def _runs(phases: Sequence[Described]) -> Iterator[tuple[Described, ...]]:
    """Cut after each training.

    >>> [len(run) for run in _runs([{"phase": "Train"}, {"phase": "Prune"}, {"phase": "Train"}, {"phase": "Prune"}])]
    [1, 2, 1]
    """
    run: list[Described] = []
    for phase in phases:
        run.append(phase)
        if phase["phase"] == "Train":
            yield tuple(run)
            run = []
    if run:
        yield tuple(run)
