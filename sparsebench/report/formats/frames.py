"""leaderboard.json.gz: every frame of a standing, with the kind of each column, read back without loss.

    {
      "schema": 1,
      "board": {"name": ..., "version": ..., "tasks": [...], "methods": [...], ...},
      "sentences": [...],                # the verdict
      "notes": [...],                    # what was left out
      "frames": {
        "cells":   {"columns": [{"name": "task", "kind": "string"}, ...], "rows": [[...], ...]},   one row a record
        "rows":    ...                   one row a (task, method, sparsity): means over seeds, ranks, marks
        "summary": ...                   one row a method over the whole board
      }
    }

Frames of a standing that come later are written as well, under their own names. Kinds: ``number`` (null = not known),
``integer``, ``boolean``, ``string`` (null = none). Numbers have all their digits. An added column or frame leaves
``schema`` as it is. The file is packed: below ``results`` a file that ends in ``.json`` is a record.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sparsebench.errors import UsageError

if TYPE_CHECKING:
    from sparsebench.report import Standing

SCHEMA = 1
_DTYPES = {"number": "float64", "integer": "int64", "boolean": "bool"}


def text(standing: Standing) -> str:
    """The standing as JSON text, one row of a frame a line."""
    values = {field.name: getattr(standing, field.name) for field in fields(standing)}
    tables = {name: _frame(value) for name, value in values.items() if isinstance(value, pd.DataFrame)}
    rest = {name: plain(value) for name, value in values.items() if name not in tables}
    lines = [f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in rest.items()]
    frames = ",\n".join(f"{json.dumps(name)}: {_lines(table)}" for name, table in tables.items())
    return "{\n" + ",\n".join([f'"schema": {SCHEMA}', *lines, f'"frames": {{\n{frames}\n}}']) + "\n}\n"


def content(standing: Standing) -> bytes:
    """The file's bytes."""
    return gzip.compress(text(standing).encode(), mtime=0)


def read(path: str | Path) -> dict[str, pd.DataFrame]:
    """The frames of a ``leaderboard.json.gz``, equal to those of the standing it was written from.

    Raises:
        UsageError: not such a file, or one of a newer schema.
    """
    try:
        data = json.loads(gzip.decompress(Path(path).read_bytes()))
        schema, found = data["schema"], data["frames"]
    except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
        raise UsageError(f"{path} is not a leaderboard.json.gz of sparsebench report --format json ({error})") from None
    if schema > SCHEMA:
        raise UsageError(f"{path} has schema {schema}, newer than the newest read here ({SCHEMA}): upgrade sparsebench")
    return {name: _read_frame(table) for name, table in found.items()}


def _read_frame(table: Mapping[str, Any]) -> pd.DataFrame:
    names = [column["name"] for column in table["columns"]]
    values = list(zip(*table["rows"], strict=True)) or [()] * len(names)
    columns = {
        column["name"]: pd.Series(list(found), dtype=_DTYPES.get(column["kind"], object))
        for column, found in zip(table["columns"], values, strict=True)
    }
    return pd.DataFrame(columns, columns=names)


def _frame(frame: pd.DataFrame) -> dict[str, Any]:
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    names = [str(column) for column in frame.columns]
    kinds = [_kind(frame.dtypes.iloc[place]) for place in range(len(names))]
    columns = [plain(frame.iloc[:, place].tolist()) for place in range(len(names))]
    return {
        "columns": [{"name": name, "kind": kind} for name, kind in zip(names, kinds, strict=True)],
        "rows": [list(row) for row in zip(*columns, strict=True)],
    }


def _kind(dtype: Any) -> str:
    if pd.api.types.is_bool_dtype(dtype):
        return "boolean"
    if pd.api.types.is_integer_dtype(dtype):
        return "integer"
    return "number" if pd.api.types.is_float_dtype(dtype) else "string"


def _lines(table: Mapping[str, Any]) -> str:
    rows = ",\n".join(json.dumps(row, allow_nan=False) for row in table["rows"])
    return f'{{"columns": {json.dumps(table["columns"])}, "rows": [\n{rows}\n]}}'


def plain(value: Any) -> Any:
    """A value as JSON can hold it: NaN and infinities as null, named tuples and frames as mappings and lists."""
    if isinstance(value, pd.DataFrame):
        return _frame(value)
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        return plain(value.item())
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
