"""Records: what a record says of itself, of its place and of its neighbours, without a look at any network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sparsebench.errors import UsageError
from sparsebench.methods import parse
from sparsebench.phases import describe
from sparsebench.protocol import PROTOCOL, canonical
from sparsebench.record import Record
from sparsebench.registry import example_score
from sparsebench.verify.folder import Source, load
from sparsebench.verify.names import cell_name, dense_name
from sparsebench.verify.report import unequal

Records = Mapping[Path, Record]
PUBLISHED_ANEW = ("board", "board_version", "cell", "digest")
"""Fields in which a published record may differ from the store's: another board may name a cell by other words."""


def identity(path: Path, record: Record, source: Source) -> Iterator[str]:
    """Rule ``record``: its names are those its settings have, and it lies where its names say."""
    data, cell, settings = record.data, record.cell, record.data["settings"]
    yield from unequal("cell_id", data["cell_id"], cell_name(data), "the hash of its settings")
    yield from unequal("file name", path.stem, data["cell_id"], "the cell_id")
    board, folder = source.place(path)
    if board is not None:
        yield from unequal("board", data["board"], board, "the folder it lies in")
    if folder is not None:
        yield from unequal("folder", folder, cell["method"].replace("/", "~"), "the method")
    yield from unequal("cell.task", cell["task"], settings["task"]["name"], "settings.task.name")
    yield from unequal("cell.sparsity", cell["sparsity"], settings["sparsity"], "settings.sparsity")
    yield from unequal("cell.seed", cell["seed"], settings["seed"], "settings.seed")
    if (named := phases_of_name(data)) is not None and canonical(named) != canonical(settings["phases"]):
        yield f"cell.method is {cell['method']!r}, but settings.phases are those of another method"
    stored = stored_copy(data, source)
    if stored is not None and stored["provenance"] == data["provenance"]:
        fields = sorted({*data, *stored} - {*PUBLISHED_ANEW})
        if differing := [field for field in fields if data.get(field) != stored.get(field)]:
            yield f"{', '.join(differing)} differ from the record in {source.store.records}"


def phases_of_name(data: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The phases that the method's name stands for; arguments it leaves open are the record's (a board's defaults).

    None if they cannot be told: another protocol, a failed cell, or a method of a user's file.
    """
    if data["protocol"] != PROTOCOL or data["status"] != "ok":
        return None
    fingerprint = data["fingerprint"]
    left_open = {fingerprint["regime"]: fingerprint["regime_arguments"], **dict(map(tuple, fingerprint["modifiers"]))}
    for phase in data["settings"]["phases"]:
        if scorer := phase.get("scorer") or (phase.get("pruner") or {}).get("scorer"):
            left_open[scorer["criterion"]] = scorer["arguments"]
    try:
        method = parse(data["cell"]["method"], left_open)
    except UsageError:
        return None
    return [describe(phase) for phase in method.phases(data["cell"]["sparsity"])]


def stored_copy(data: Mapping[str, Any], source: Source) -> Mapping[str, Any] | None:
    """The record that the store behind a results folder has of a cell.

    Raises:
        CorruptRecord: it has one that is damaged.
    """
    if source.is_store or source.store is None:
        return None
    path = source.store.records / f"{data['cell_id']}.json"
    return load(path).data if path.exists() else None


def is_behind(data: Mapping[str, Any], source: Source) -> bool:
    """Whether the store's stages are those a record was made of, and not of another computation of the same cell."""
    stored = stored_copy(data, source)
    return source.is_store or (stored is not None and stored["provenance"] == data["provenance"])


def provenance(record: Record, dense: Record | None, source: Source) -> Iterator[str]:
    """Rule ``provenance``: clean known code (of what is published), and the circumstances of its dense row."""
    where, settings = record.data["provenance"], record.data["settings"]
    if not source.is_store:
        yield from clean(where)
    yield from unequal("precision", where["precision"], settings["task"]["recipe"]["precision"], "the recipe's")
    name = dense_name(record.data)
    if dense is not None:
        for key in ("data_digest", "precision", "versions"):
            yield from unequal(key, where[key], dense.data["provenance"][key], f"as in the dense row {name}")
    elif not any(path.stem == name for path in source.records):
        yield f"its dense row {name} is not here: verify the folder of the whole board"


def clean(where: Mapping[str, Any]) -> Iterator[str]:
    """Why the code behind a record cannot be looked up."""
    if not where.get("commit") and where.get("release"):
        return
    if not where.get("commit"):
        yield "commit is unknown: a published record names the code it comes from"
    elif where.get("dirty") is not False:
        yield f"dirty is {where.get('dirty')}: the code was not that of commit {str(where['commit'])[:12]}"


def agreements(records: Records, source: Source) -> dict[Path, list[str]]:
    """In what a record differs from most others of its board and task: data, and where published task and protocol."""
    found: dict[Path, list[str]] = {}
    for what, value_of in _SHARED.items():
        if what != "data_digest" and source.is_store:
            continue
        groups: dict[Any, dict[Path, Any]] = {}
        for path, record in records.items():
            task = canonical(record.data["settings"].get("task")) if source.is_store else record.cell["task"]
            seed = record.cell["seed"] if what == "data_digest" and drawn_by_seed(record.data) else None
            groups.setdefault((record.data["board"], task, seed), {})[path] = canonical(value_of(record.data))
        for values in groups.values():
            for path, fault in _odd(what, values):
                found.setdefault(path, []).append(fault)
    return found


def drawn_by_seed(data: Mapping[str, Any]) -> bool:
    """Whether each seed of a task has training images of its own."""
    diet = (data["settings"].get("task") or {}).get("diet") or {}
    entry = example_score.entries.get(diet.get("score", ""))
    return entry is not None and entry.traits.get("of") == "seed"


_SHARED = {
    "data_digest": lambda data: data["provenance"].get("data_digest"),
    "protocol": lambda data: data["protocol"],
    "settings.task": lambda data: data["settings"].get("task"),
}


def _odd(what: str, values: Mapping[Path, Any]) -> Iterable[tuple[Path, str]]:
    common, count = Counter(values.values()).most_common(1)[0]
    for path, value in values.items():
        for fault in unequal(what, value, common, f"as in {count} other records of this board and task"):
            yield path, fault


def notes(finished: Records, source: Source, compared: int) -> Iterator[str]:
    """What is worth knowing of the records and no fault; ``compared``: how many have their networks in the store."""
    if source.store is not None and not source.is_store:
        twice = sum(stored_copy(record.data, source) is not None for record in finished.values()) - compared
        without = len(finished) - compared
        yield f"{compared} records have their networks in {source.store.folder}, {without} have none there"
        if twice > 0:
            yield f"{twice} of these were computed another time there, so its networks are not theirs"
    if source.is_store and (dirty := sum(1 for record in finished.values() if any(clean(record.data["provenance"])))):
        yield f"{dirty} records come from code that was changed or is not known: no fault in a store, one in results"
    if failed := sum(1 for record in finished.values() if not record.audit_passed):
        yield f"{failed} records say themselves that their audit failed; they are not ranked"
    if unknown := sum(1 for record in finished.values() if phases_of_name(record.data) is None):
        yield f"{unknown} records have a method of a user's file, or another protocol: its name was not compared"
