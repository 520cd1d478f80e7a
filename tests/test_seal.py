"""The quick way to verify a digest finds what the slow way finds, or says nothing."""

from __future__ import annotations

import json
import math
import random
import struct
from pathlib import Path

import pytest

from sparsebench.record import CorruptRecord, Record
from sparsebench.seal import digest, if_sealed

SAMPLE = Path(__file__).parent / "data" / "record_schema1.json"
RESULTS = Path(__file__).parents[1] / "results"


def sealed(data: dict) -> bytes:
    return json.dumps({**data, "digest": digest(data)}).encode()


def any_float(draw: random.Random) -> float:
    """Of any size there is, small ones as often as those near one."""
    kinds = {
        "bits": lambda: struct.unpack("<d", draw.randbytes(8))[0],
        "loss": lambda: draw.lognormvariate(-10, 4),
        "short": lambda: float(f"{draw.randrange(1, 1000)}e{draw.randrange(-24, 24)}"),
        "border": lambda: draw.choice([1e-4, 1e-5, 1e-6, 1e-7, 1e-9, 1e-10, 1e15, 1e16, 1e17, 0.0, -0.0, 5e-324]),
    }
    value = draw.choice(list(kinds.values()))()
    return draw.choice((-1, 1)) * value if math.isfinite(value) else 0.5


def test_floats_of_every_size_are_written_as_python_writes_them():
    draw = random.Random(0)
    for _ in range(300):
        data = {
            "curves": [any_float(draw) for _ in range(50)],
            "z": {"b": any_float(draw), "a": 10 ** draw.randrange(18)},
        }
        found = if_sealed(sealed(data))
        assert found is not None, "the quick way is not taken"
        rest = {key: value for key, value in found.items() if key != "digest"}
        assert json.dumps(rest) == json.dumps(data), "another value, another type or another order"


@pytest.mark.parametrize(
    "text", ["0.00001", "e-7", "a,0.00001]", "1e-5", '"0.00002"', "\\", '\\"0.00001', "ä", "\u2028", "\n"]
)
def test_texts_that_look_like_floats_stay_as_they_are(text):
    data = {"error": text, "small": [1e-05, 2e-07], text: 3e-05}
    found = if_sealed(sealed(data))
    assert found is None or found["error"] == text
    assert digest(json.loads(sealed(data))) == json.loads(sealed(data))["digest"]


@pytest.mark.parametrize(("old", "new"), [("1e-05", "0.00001"), ("1e-05", "1.0e-5")])
def test_an_edit_that_changes_no_value_is_none(old, new):
    text = sealed({"loss": [1e-05, 0.5]}).decode()
    assert if_sealed(text.replace(old, new).encode())["loss"] == [1e-05, 0.5]


def test_a_float_within_a_text_is_not_taken_for_a_number():
    text = sealed({"loss": 2e-05, "error": "at,1e-05]"}).decode()
    assert if_sealed(text.encode()) is not None
    assert if_sealed(text.replace("at,1e-05]", "at,0.00001]").encode()) is None


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[1]", b"1", b'{"a": NaN}', b'{"a": 1}', b"\xff", b'{"digest": 1}', b"[" * 5000, b'{"a": 1e999}'],
)
def test_what_is_not_a_sealed_object_is_left_to_the_slow_way(text):
    assert if_sealed(text) is None


def test_numbers_beyond_64_bits_still_load(tmp_path):
    data = json.loads(SAMPLE.read_text())
    data["a_later_field"] = [2**70, -(2**70), "ä", "\ud800"]
    path = Record(data).save(tmp_path / "r.json")
    assert if_sealed(path.read_bytes()) is None
    assert Record.load(path).data["a_later_field"] == data["a_later_field"]


def test_both_ways_find_the_same_in_every_committed_record(monkeypatch):
    paths = sorted((RESULTS / "quick").glob("*/*.json")) + sorted((RESULTS / "lite-cpu").glob("*/*.json"))
    assert paths
    quickly = [if_sealed(path.read_bytes()) for path in paths]
    assert None not in quickly
    monkeypatch.setattr("sparsebench.record.if_sealed", lambda text: None)
    for path, found in zip(paths, quickly, strict=True):
        assert json.dumps(Record.load(path).data) == json.dumps(found)


def test_every_edited_digit_that_changes_a_value_is_noticed(tmp_path):
    text = SAMPLE.read_text()
    digits = [place for place, letter in enumerate(text) if letter.isdigit()]
    path, same = tmp_path / "r.json", 0
    for place in random.Random(0).sample(digits, 300):
        edited = text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]
        path.write_text(edited)
        if json.loads(edited) == json.loads(text):  # the last of seventeen digits may say nothing
            same += 1
            assert Record.load(path).data == json.loads(text)
            continue
        assert if_sealed(path.read_bytes()) is None
        with pytest.raises(CorruptRecord):
            Record.load(path)
    assert same < 10
