"""Stages: what ``stage.json`` says of a stage, held against the settings of the cell that stands on it. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from sparsebench.errors import SparsebenchError
from sparsebench.grid.store import Store
from sparsebench.protocol import canonical
from sparsebench.registry import criterion
from sparsebench.verify.names import Described, Link
from sparsebench.verify.report import unequal

FILES = WEIGHTS, MASKS, STRUCTURE, OPTIMIZER, SCORES = tuple(
    f"{name}.safetensors" for name in ("weights", "masks", "structure", "optimizer", "scores")
)
"""Every file of tensors that a stage may have."""


def read(folder: Path) -> dict[str, Any]:
    """A stage's report.

    Raises:
        SparsebenchError: there is none, or something else in its place.
        OSError, ValueError: it cannot be read.
    """
    path = folder / "stage.json"
    if not path.is_file():
        raise SparsebenchError(f"{path} is missing")
    report = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(report, dict) or not isinstance(report.get("files"), dict):
        raise SparsebenchError(f"{path} is not the report of a stage")
    return report


def links_up(link: Link, report: Mapping[str, Any], store: Store) -> Iterator[str]:
    """Rule ``chain``: a stage is what the settings of a cell say it is, and stands on what they say."""
    why = "by the settings of a record"
    yield from unequal("id", report["id"], link.id, "the folder's name, by the settings of a record")
    yield from unequal("parent", report["parent"], link.parent, why)
    yield from unequal("rewind_point", report["rewind_point"], link.rewind_point, why)
    yield from unequal("teacher", report.get("teacher"), link.teacher, why)
    yield from unequal("scores", report.get("scores"), link.scores, why)
    found, asked = report.get("scoring") or {}, link.scoring or {}
    if bool(found) != bool(asked) or asked != {key: found.get(key) for key in asked}:
        yield "scoring is not that of the settings"
    if canonical(report["phases"]) != canonical(list(link.phases)):
        yield "phases are not those of the settings"
    for name in (link.parent, link.rewind_point, link.teacher, link.scores, *found.get("networks", ())):
        if name and not (store.stage(name) / "stage.json").is_file():
            yield f"stage {name}, which it starts from, is missing"


def stands_alone(folder: Path, report: Mapping[str, Any], store: Store) -> Iterator[str]:
    """Rule ``chain`` of a stage that no record here stands on."""
    yield from unequal("id", report["id"], folder.name, "the folder's name")
    networks = (report.get("scoring") or {}).get("networks", ())
    for name in (report["parent"], report["rewind_point"], report.get("teacher"), report.get("scores"), *networks):
        if name and not (store.stage(str(name)) / "stage.json").is_file():
            yield f"stage {name}, which it starts from, is missing"


def same_files(folder: Path, said: Mapping[str, Any], needed: Iterable[str] = (WEIGHTS,)) -> Iterator[str]:
    """Files of a stage that are missing, foreign, or not those of its digests."""
    for file in sorted({*needed} - {*said["files"]}):
        yield f"stage.json lists no {file}"
    for file, digest in said["files"].items():
        if file not in FILES:
            yield f"stage.json lists {file!r}, which no stage has"
        elif not (folder / file).is_file():
            yield f"{file} is missing"
        else:
            found = sha256((folder / file).read_bytes()).hexdigest()
            yield from unequal(f"sha256 of {file}", found, digest, "stage.json")


def needed_files(link: Link) -> list[str]:
    """Files of a stage besides its masks: a rewind point must bring the optimiser back too.

    >>> phases = ({"phase": "Train", "until": 0.1},)
    >>> needed_files(Link("0", phases, phases, None, None))
    ['weights.safetensors', 'optimizer.safetensors']
    """
    point = any(phase["phase"] == "Train" and phase["until"] < 1 for phase in link.phases)
    forgets = any(phase.get("forgets") for phase in link.phases)
    return [WEIGHTS, *([OPTIMIZER] if point else []), *([SCORES] if forgets else [])]


def files_of_masks(link: Link, listed: Sequence[str]) -> list[str]:
    """The files of masks that a stage must have; of a user's criterion that is not registered here, what it has."""
    pruning = last_pruning(link.history)
    if pruning is None:
        return []
    scorer = pruning.get("scorer")
    if scorer and scorer["criterion"] not in criterion.entries and len(listed) == 1:
        return list(listed)
    return [STRUCTURE if "structure" in _traits(pruning) else MASKS]


def last_pruning(phases: tuple[Described, ...]) -> Described | None:
    """The last phase that removes weights: its ``sparsity`` and, if it has one, its ``scorer``."""
    found = [p if p["phase"] == "Prune" else p.get("pruner") for p in phases if p["phase"] in ("Prune", "Train")]
    return next((pruning for pruning in reversed(found) if pruning), None)


def narrowing(phases: tuple[Described, ...]) -> Described | None:
    """The phase that begins with a narrower network."""
    return next((phase for phase in phases if phase["phase"] == "Narrow"), None)


def moves(phases: tuple[Described, ...]) -> bool:
    """Whether masks move while training goes on: dynamic and latent methods, and scores that add up over steps.

    >>> moves(({"phase": "Train", "pruner": {"kind": "Dynamic"}},)), moves(({"phase": "Train", "pruner": None},))
    (True, False)
    """
    pruners = [phase["pruner"] for phase in phases if phase["phase"] == "Train" and phase["pruner"]]
    return any(pruner["kind"] != "Gradual" or "accumulates" in _traits(pruner) for pruner in pruners)


def must_nest(link: Link) -> bool:
    """Whether the masks of a stage must lie within those of the stage before, which has some."""
    before = link.history[: len(link.history) - len(link.phases)]
    return last_pruning(before) is not None and nests(link.phases)


def nests(phases: tuple[Described, ...]) -> bool:
    """Whether the masks after these phases must lie within those before.

    >>> nests(({"phase": "Prune"}, {"phase": "Train", "pruner": None})), nests(({"phase": "Shuffle"},))
    (True, False)
    """
    return not moves(phases) and all(phase["phase"] != "Shuffle" for phase in phases)


def _traits(pruning: Described) -> Mapping[str, Any]:
    scorer = pruning.get("scorer")
    entry = criterion.entries.get(scorer["criterion"]) if scorer else None
    return entry.traits if entry else {}
