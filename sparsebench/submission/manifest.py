"""Manifest: what a submission says of itself, as ``submission.json``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from sparsebench.errors import SparsebenchError
from sparsebench.files import write_atomic

FILE = "submission.json"
README = "README.md"
TABLE = "table.csv"
RESULTS = "results"
SCHEMA = 1
"""The newest layout this version reads."""
FREE = (FILE, README)
"""Files without a digest: the manifest itself, and the page to which its authors may add."""


class BadManifest(SparsebenchError):
    """A manifest that cannot be read."""


@dataclass(frozen=True)
class Manifest:
    """The content of ``submission.json``; fields a newer version adds are left alone."""

    name: str
    """The submission's, and that of its folder."""
    authors: list[str]
    paper: str
    summary: str
    unverified: bool
    """The records were made without code that could be looked at: nothing can be computed again."""
    board: str
    board_version: int
    board_file: str | None
    """The board's YAML in the folder; None for a board that ships."""
    protocol: int
    methods: list[str]
    """As they are written in a board."""
    method_file: str | None
    """The file that defines them; None if all of them ship, or the code is not given."""
    cells: int
    versions: dict[str, Any]
    hardware: list[str]
    files: dict[str, str]
    """Path -> sha256 of every file but the manifest and README.md."""
    schema: int = SCHEMA

    def save(self, folder: Path) -> Path:
        return write_atomic(folder / FILE, json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read a folder's manifest.

        Raises:
            BadManifest: there is none, it is no JSON, newer than this version, or a field is missing or mistyped.
        """
        try:
            data = json.loads((folder / FILE).read_text(encoding="utf-8"))
        except OSError as error:
            raise BadManifest(f"{FILE} cannot be read ({error.strerror})") from None
        except (ValueError, RecursionError) as error:
            raise BadManifest(f"{FILE} is not JSON ({error})") from None
        if fault := next(_faults(data), None):
            raise BadManifest(fault)
        return cls(**{field.name: data[field.name] for field in fields(cls)})


_KINDS = {"str": str, "int": int, "bool": bool, "list[str]": list, "dict[str, Any]": dict, "dict[str, str]": dict}


def _faults(data: Any) -> Iterator[str]:
    if not isinstance(data, Mapping):
        yield f"{FILE} holds no JSON object"
        return
    if isinstance(data.get("schema"), int) and data["schema"] > SCHEMA:
        yield f"schema {data['schema']} is newer than the newest read here ({SCHEMA}): upgrade sparsebench"
    for field in fields(Manifest):
        if field.name not in data:
            yield f"field {field.name!r} is missing"
            return
        value, kind = data[field.name], str(field.type)
        optional = kind.endswith(" | None")
        wanted = _KINDS[kind.removesuffix(" | None")]
        if not (value is None and optional) and not (
            isinstance(value, wanted) and (wanted is bool or value is not True)
        ):
            yield f"field {field.name!r} is {value!r}, must be of type {wanted.__name__}"
        inside = list(value.values()) if kind == "dict[str, str]" else value if kind == "list[str]" else []
        if isinstance(value, list | dict) and any(not isinstance(item, str) for item in inside):
            yield f"field {field.name!r} must hold text"
    for path in (*data["files"], data["method_file"], data["board_file"]):
        if path is not None and (PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts):
            yield f"file {path!r} lies outside the folder"


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder but those of ``FREE``, in path order.

    Raises:
        BadManifest: something is neither a folder nor a plain file.
    """
    found = {}
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted([*names, *(d for d in folders if Path(place, d).is_symlink())]):
            path = Path(place, name)
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink() or not path.is_file():
                raise BadManifest(f"{relative} is a link or no plain file")
            if relative not in FREE:
                found[relative] = sha256(path.read_bytes()).hexdigest()
    return found
