"""Names: the ids of a cell, its stages and its dense row, worked out anew from the settings in its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sparsebench.diet import Diet
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
    teacher: str | None = None
    scores: str | None = None
    """The stage whose scores chose the training images."""
    scoring: Mapping[str, Any] | None = None
    """What the stage scores training images by, in place of phases."""


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
        teacher = _training(data, Train()).id if any(map(_follows, phases)) else None
        point, scores = point[-1] if point else None, scores_name(data)
        links.append(Link(name, phases, history, before and before.id, point, teacher, scores))
    return links


def teachers(data: Mapping[str, Any]) -> list[Link]:
    """The dense stage, if a training of a cell follows it and the cell's chain does not begin with it."""
    links = chain(data)
    asked = {link.teacher for link in links} - {None} - {link.id for link in links}
    return [_training(data, Train())] if asked else []


def _follows(phase: Described) -> bool:
    """Whether a training has a teacher.

    >>> _follows({"phase": "Train", "distill": {"alpha": 0.9, "beta": 0.0}}), _follows({"phase": "Train"})
    (True, False)
    """
    distill = phase.get("distill")
    return bool(distill and (distill["alpha"] or distill["beta"]))


def rewind_points(data: Mapping[str, Any]) -> list[Link]:
    """The stages that recorded what a cell rewinds to, each once."""
    shares = [p["to"] for p in data["settings"]["phases"] if p["phase"] == "Rewind" and p["to"] > 0]
    return [_point(data, share) for share in dict.fromkeys(shares)]


def _point(data: Mapping[str, Any], share: float) -> Link:
    return _training(data, Train(until=share))


def _training(data: Mapping[str, Any], training: Train) -> Link:
    """The stage that is one training from initialisation."""
    phases = (describe(training),)
    return Link(_stage_name(data, [phases]), phases, phases, None, None, scores=scores_name(data))


def diet_of(data: Mapping[str, Any]) -> Diet | None:
    """The part of its training images that a record's task is trained on."""
    settings = data["settings"]["task"].get("diet")
    return Diet(**settings) if settings else None


def scores_name(data: Mapping[str, Any]) -> str | None:
    """The stage whose scores choose the training images; None for all of them, or a draw."""
    diet = diet_of(data)
    if diet is None or diet.source is None:
        return None
    return name_under(data["protocol"], {"task": _whole(data, diet), "scores": diet.source})


def scoring(data: Mapping[str, Any]) -> list[Link]:
    """The networks that score a record's training images, and the stage of their scores."""
    diet, name = diet_of(data), scores_name(data)
    if name is None:
        return []
    task, networks = _whole(data, diet), []
    if diet.epoch:
        phase = Train(until=diet.epoch / task["recipe"]["epochs"], forgets=diet.kind == "training")
        networks = [_training({**data, "settings": {"task": task, "seed": seed}}, phase) for seed in diet.seeds]
    source = {**diet.source, "networks": [link.id for link in networks]}
    return [*networks, Link(name, (), (), None, None, scoring=source)]


def _whole(data: Mapping[str, Any], diet: Diet) -> dict[str, Any]:
    """The settings of the task with all images."""
    return {key: value for key, value in data["settings"]["task"].items() if key != "diet"} | {"name": diet.of}


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
