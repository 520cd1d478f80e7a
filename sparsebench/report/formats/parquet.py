"""records.parquet: one row a record, for pandas, polars, DuckDB or R.

A field has the name of its place in the record, joined by dots: ``cell.task``, ``metrics.top1``,
``provenance.versions.torch``. Numbers, texts and truth values are columns of their kind, lists of numbers
(``per_class.n``, ``curves.losses``) are lists. What has no fixed names or is a list of objects is JSON text:
``settings``, ``sparsity.layers``, ``fingerprint``, ``audit``, ``corruptions``. ``path`` is the record's file in the
board's folder, ``audit_passed`` says whether every rule held.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from sparsebench.report.kept import Kept

AS_TEXT = {"settings", "sparsity.layers", "fingerprint", "audit", "corruptions", "parents", "flags"}


def content(records: Sequence[Kept]) -> bytes:
    """The file's bytes; needs pyarrow."""
    buffer = io.BytesIO()
    frame(records).to_parquet(buffer, engine="pyarrow", index=False)
    return buffer.getvalue()


def frame(records: Sequence[Kept]) -> pd.DataFrame:
    """The same as a frame; a field that a record does not have is missing in its row."""
    rows = [
        {"path": path, "audit_passed": record.audit_passed, **dict(_fields(record.data))} for path, record in records
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    return pd.DataFrame({name: _column([row.get(name) for row in rows]) for name in names})


def _fields(data: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        name = before + key
        if name in AS_TEXT:
            yield name, json.dumps(value)
        elif isinstance(value, Mapping):
            yield from _fields(value, name + ".")
        elif isinstance(value, list) and not all(isinstance(item, int | float) for item in value):
            yield name, json.dumps(value)
        else:
            yield name, value


def _column(values: list[Any]) -> pd.Series:
    """A column of one kind; where records disagree on the kind, JSON text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and float in kinds:
        return pd.Series(values, dtype="float64")
    if kinds == {int}:
        return pd.Series(values, dtype="Int64")
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean")
    if kinds == {list}:
        return pd.Series([value and [float(item) for item in value] for value in values], dtype=object)
    if kinds <= {str}:
        return pd.Series(values, dtype="string")
    return pd.Series([None if value is None else json.dumps(value) for value in values], dtype="string")
