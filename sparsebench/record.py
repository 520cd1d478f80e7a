"""A record: what one cell of a board gave, as one JSON file that notices when it was edited.

Numbers, cost, provenance and audit of a single (task, method, sparsity, seed). Every table and figure is
rendered from these files and from nothing else. A field this version does not know is kept as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsebench.errors import SparsebenchError
from sparsebench.files import write_atomic
from sparsebench.seal import digest, if_sealed

SCHEMA = 1
"""The newest record layout this version reads; added fields do not raise it, changed meanings do."""

_NUMBER = (int, float)
_ALWAYS = {
    "schema": int, "board": str, "board_version": int, "protocol": int, "cell_id": str, "cell": dict,
    "cell.task": str, "cell.method": str, "cell.sparsity": _NUMBER, "cell.seed": int, "settings": dict,
    "status": str, "collapsed": bool, "metrics": dict, "cost": dict, "provenance": dict, "audit": list,
}  # fmt: skip
_WHEN_OK = {
    "metrics.top1": _NUMBER, "sparsity.asked": _NUMBER, "sparsity.achieved": _NUMBER,
    "flops.speedup": _NUMBER, "cost.epochs": _NUMBER, "cost.seconds": _NUMBER,
}  # fmt: skip
_KEYS = {name: name.split(".") for name in (*_ALWAYS, *_WHEN_OK)}
_FRACTIONS = (
    "top1", "top5", "worst_class", "dead_static", "dead_dynamic", "dead_dynamic_alive", "dead_permanent",
    "neg_preact", "ece", "val_top1_before", "val_top1", "corrupted",
)  # fmt: skip


class CorruptRecord(SparsebenchError):
    """A record that cannot be trusted: damaged, edited, or not a record at all."""

    def __init__(self, path: str | Path, why: str):
        super().__init__(f"{path}: {why}")
        self.path, self.why = Path(path), why

    def __reduce__(self):
        return type(self), (self.path, self.why)


@dataclass(frozen=True)
class Record:
    """One cell's result: a read-only view of its JSON object ``data``, unknown fields included."""

    data: Mapping[str, Any]

    @classmethod
    def load(cls, path: str | Path) -> Record:
        """Read and verify one record.

        Raises:
            CorruptRecord: unreadable, not JSON, NaN inside, a field missing or of a wrong type, or numbers
                that do not match the digest written with them.
        """
        try:
            text = Path(path).read_bytes()
        except OSError as error:
            raise CorruptRecord(path, f"cannot be read ({error.strerror})") from error
        data = if_sealed(text)
        if data is None:
            return cls._load_slowly(text, path)
        _validate(data, path, storable=True)
        return cls(data)

    @classmethod
    def _load_slowly(cls, text: bytes, path: str | Path) -> Record:
        """Read and verify any text as the canonical form asks, and say why where it cannot be trusted."""
        try:
            data = json.loads(text.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise CorruptRecord(path, f"not a JSON file ({error})") from error
        try:
            found = digest(data) if isinstance(data, Mapping) else None
        except ValueError:
            found = None
        # What was parsed and written again holds nothing that JSON cannot: the walk that would name it is spared.
        _validate(data, path, storable=found is not None)
        if data.get("digest") != found:
            raise CorruptRecord(path, "changed since it was written (digest differs): run the cell again")
        return cls(data)

    def save(self, path: str | Path) -> Path:
        """Write the record with its digest, atomically; one top-level field a line, for readable diffs.

        Raises:
            CorruptRecord: the data would not load again (NaN, a wrong type, a missing field).
        """
        _validate(self.data, path)
        data = {**self.data, "digest": digest(self.data)}
        lines = (f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in data.items())
        return write_atomic(path, "{\n" + ",\n".join(lines) + "\n}\n")

    @property
    def cell(self) -> dict[str, Any]:
        """Task, method, sparsity and seed."""
        return self.data["cell"]

    @property
    def ok(self) -> bool:
        """The cell ran to its end."""
        return self.data["status"] == "ok"

    @property
    def audit_failures(self) -> list[str]:
        """Names of the audit rules that failed."""
        return [rule.get("name", "?") for rule in self.data["audit"] if rule.get("passed") is not True]

    @property
    def audit_passed(self) -> bool:
        """Every audited rule held; a record without any audit has not passed it."""
        return bool(self.data["audit"]) and not self.audit_failures


def load_all(folder: str | Path) -> tuple[list[Record], list[CorruptRecord]]:
    """All records below a folder in path order, and what could not be trusted.

    A cell that appears twice (a copied file) is kept once; the copy is reported, since one seed counted
    twice would make an interval too narrow.
    """
    records: list[Record] = []
    corrupt: list[CorruptRecord] = []
    seen: dict[str, Path] = {}
    for path in sorted(Path(folder).rglob("*.json")):
        try:
            record = Record.load(path)
            first = seen.setdefault(record.data["cell_id"], path)
            if first is not path:
                raise copied(path, first)
            records.append(record)
        except CorruptRecord as error:
            corrupt.append(error)
    return records, corrupt


def copied(path: Path, first: Path) -> CorruptRecord:
    """Why the second file of a cell is left out."""
    return CorruptRecord(path, f"the same cell as {first}: delete one of them")


def record_path(results: str | Path, board: str, method: str, cell_id: str) -> Path:
    """Where the record of a cell lives.

    >>> record_path("results", "quick", "magnitude/erk@init", "00ff00ff00ff00ff").as_posix()
    'results/quick/magnitude~erk@init/00ff00ff00ff00ff.json'
    """
    return Path(results) / board / method.replace("/", "~") / f"{cell_id}.json"


def _validate(data: Any, path: str | Path, storable: bool = False) -> None:
    why = next(_faults(data, storable), None)
    if why:
        raise CorruptRecord(path, why)


def _faults(data: Any, storable: bool) -> Iterator[str]:
    """What is wrong with a record, the most basic first."""
    if not isinstance(data, Mapping):
        yield "not a record: the file does not hold a JSON object"
        return
    if not storable:
        yield from _unstorable(data, "")
    if type(data.get("schema")) is int and data["schema"] > SCHEMA:
        yield f"schema {data['schema']} is newer than the newest read here ({SCHEMA}): upgrade sparsebench"
    yield from _mistyped(data, _ALWAYS)
    if data["status"] not in ("ok", "failed"):
        yield f"status is {data['status']!r}, must be 'ok' or 'failed'"
    if not all(isinstance(rule, Mapping) for rule in data["audit"]):
        yield "audit must be a list of objects with rule, name and passed"
    if not 0 <= data["cell"]["sparsity"] < 1:
        yield f"cell.sparsity is {data['cell']['sparsity']}, must lie in [0, 1)"
    if data["status"] == "ok":
        yield from _mistyped(data, _WHEN_OK)
    for name in _FRACTIONS:
        value = data["metrics"].get(name)
        if value is not None and not (_is_a(value, _NUMBER) and 0 <= value <= 1):
            yield f"metrics.{name} is {value!r}, must be null or a number in [0, 1]"


def _mistyped(data: Mapping, fields: Mapping[str, Any]) -> Iterator[str]:
    for name, kind in fields.items():
        value: Any = data
        try:
            for key in _KEYS[name]:
                value = value[key]
        except (LookupError, TypeError):
            yield f"field {name!r} is missing"
            return
        if not _is_a(value, kind):
            expected = "number" if kind is _NUMBER else kind.__name__
            yield f"field {name!r} is {value!r}, must be of type {expected}"


def _is_a(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _unstorable(value: Any, where: str) -> Iterator[str]:
    """Values that JSON cannot hold without changing them."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                yield f"key {key!r} in {where or 'the record'} is not a string"
            yield from _unstorable(item, f"{where}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _unstorable(item, f"{where}[{position}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{where} is {value}: write null for a value that does not exist"
    elif not (value is None or isinstance(value, str | int | float | bool)):
        yield f"{where} is a {type(value).__name__}, which JSON cannot hold"
