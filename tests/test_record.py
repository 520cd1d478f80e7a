"""Records: what is saved is loaded, what was edited or damaged is noticed, old files keep loading."""

from __future__ import annotations

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest

from sparsebench.errors import SparsebenchError
from sparsebench.files import write_atomic
from sparsebench.record import CorruptRecord, Record, load_all, record_path

SAMPLE = Path(__file__).parent / "data" / "record_schema1.json"


@pytest.fixture
def data() -> dict:
    return json.loads(SAMPLE.read_text())


def edited(data: dict, path: str, value) -> dict:
    """A copy with one nested field replaced, given as "metrics.top1"."""
    copy = deepcopy(data)
    *parents, last = path.split(".")
    target = copy
    for key in parents:
        target = target[key]
    target[last] = value
    return copy


def test_the_sample_of_schema_1_still_loads():
    record = Record.load(SAMPLE)
    assert record.cell == {"task": "digits-resnet8", "method": "magnitude@imp", "sparsity": 0.9375, "seed": 0}
    assert record.ok
    assert record.audit_passed
    assert record.data["metrics"]["top1"] == 0.9575


def test_round_trip_keeps_everything_and_unknown_fields(data, tmp_path):
    data["a_later_field"] = {"nested": [1, 2.5, None, "ä"]}
    saved = Record(data).save(tmp_path / "deep" / "er" / "r.json")
    loaded = Record.load(saved).data
    assert {k: v for k, v in loaded.items() if k != "digest"} == {k: v for k, v in data.items() if k != "digest"}
    assert loaded["digest"] != data["digest"]
    again = Record(loaded).save(tmp_path / "again.json")
    assert again.read_bytes() == saved.read_bytes()
    assert [path.name for path in saved.parent.iterdir()] == ["r.json"], "no temporary file is left"


@pytest.mark.parametrize(("old", "new"), [('"top1": 0.9575', '"top1": 0.9675'), ('"seed": 0', '"seed": 1')])
def test_an_edited_number_is_noticed(tmp_path, old, new):
    text = SAMPLE.read_text()
    assert old in text
    path = write_atomic(tmp_path / "r.json", text.replace(old, new, 1))
    with pytest.raises(CorruptRecord, match="changed since it was written"):
        Record.load(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("cell.seed", 7), ("cell.method", "lamp@imp"), ("metrics.top1", 0.5), ("audit", []), ("provenance.commit", "0")],
)
def test_whatever_is_edited_in_a_new_record_is_noticed(data, tmp_path, field, value):
    path = Record(data).save(tmp_path / "r.json")
    write_atomic(path, json.dumps(edited(json.loads(path.read_text()), field, value)))
    with pytest.raises(CorruptRecord, match="changed since it was written"):
        Record.load(path)


def test_a_removed_digest_is_noticed(data, tmp_path):
    del data["digest"]
    path = write_atomic(tmp_path / "r.json", json.dumps(data))
    with pytest.raises(CorruptRecord, match="digest"):
        Record.load(path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("metrics.top1", float("nan"), "metrics.top1 is nan: write null"),
        ("metrics.nll", float("inf"), "metrics.nll is inf"),
        ("metrics.top1", 95.75, r"metrics.top1 is 95.75, must be null or a number in \[0, 1\]"),
        ("metrics.top1", None, "'metrics.top1' is None, must be of type number"),
        ("cell.sparsity", 1.0, r"must lie in \[0, 1\)"),
        ("cell.seed", "0", "'cell.seed' is '0', must be of type int"),
        ("collapsed", 0, "'collapsed' is 0, must be of type bool"),
        ("schema", True, "'schema' is True, must be of type int"),
        ("schema", 2, "upgrade sparsebench"),
        ("status", "done", "must be 'ok' or 'failed'"),
        ("audit", ["pass"], "audit must be a list of objects"),
        ("settings", {"path": Path("x")}, "settings.path is a PosixPath, which JSON cannot hold"),
        ("settings", {1: 2}, "key 1 in settings is not a string"),
        ("per_class.n", [1, float("nan")], r"per_class.n\[1\] is nan"),
    ],
)
def test_what_would_not_load_is_not_saved(data, tmp_path, field, value, message):
    with pytest.raises(CorruptRecord, match=message):
        Record(edited(data, field, value)).save(tmp_path / "r.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("field", ["board", "cell", "metrics", "audit", "sparsity", "provenance"])
def test_a_missing_field_is_named(data, tmp_path, field):
    del data[field]
    with pytest.raises(CorruptRecord, match=f"field '{field}"):
        Record(data).save(tmp_path / "r.json")


def test_a_failed_cell_needs_no_numbers(data, tmp_path):
    data.update(status="failed", error="out of memory", metrics={}, sparsity=None, flops=None, audit=[])
    record = Record.load(Record(data).save(tmp_path / "r.json"))
    assert not record.ok
    assert not record.audit_passed, "what was not audited has not passed"


def test_audit(data):
    data["audit"].append({"rule": 2, "name": "zero weights", "passed": False, "detail": "3 of 10"})
    assert Record(data).audit_failures == ["zero weights"]
    assert not Record(data).audit_passed
    data["audit"] = [{"rule": 1, "name": "exact counts", "passed": None}]
    assert not Record(data).audit_passed, "an unknown outcome is not a pass"


def test_load_all_reports_every_corrupt_file_and_goes_on(data, tmp_path):
    good = Record(data).save(record_path(tmp_path, "quick", "magnitude@imp", "a" * 16))
    write_atomic(tmp_path / "quick" / "half.json", SAMPLE.read_text()[:200])
    write_atomic(tmp_path / "quick" / "list.json", "[1]")
    write_atomic(tmp_path / "quick" / "nan.json", '{"schema": NaN}')
    (tmp_path / "quick" / "notes.md").write_text("not a record")
    copy = write_atomic(tmp_path / "quick" / "z" / "copy.json", good.read_bytes())
    records, corrupt = load_all(tmp_path)
    assert len(records) == 1
    why = {error.path.name: error.why for error in corrupt}
    assert set(why) == {"half.json", "list.json", "nan.json", copy.name}
    assert "the same cell as" in why["copy.json"]
    assert all(isinstance(error, SparsebenchError) for error in corrupt)


def test_an_interrupted_write_leaves_the_old_file(data, tmp_path, monkeypatch):
    path = Record(data).save(tmp_path / "r.json")
    before = path.read_bytes()

    def crash(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", crash)
    with pytest.raises(KeyboardInterrupt):
        Record(edited(data, "metrics.top1", 0.5)).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_records_and_reports_do_not_import_torch():
    code = (
        "import sys, sparsebench.record, sparsebench.stats, sparsebench.report;"
        "from sparsebench.report import cells, curves, figure, markdown, table, terminal, verdict;"
        "print({'torch', 'lightning', 'matplotlib'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
