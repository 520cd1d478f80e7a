"""Registries: what is read is what importing registers; what is broken is named."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from sparsebench import registry as registries
from sparsebench.errors import UsageError
from sparsebench.registry import Registry, read_entries

SCORE = """
from sparsebench import criterion

@criterion(needs="weight")
def {name}(weight, *, power: float = 2.0):
    \"\"\"Weights to a power.\"\"\"
    return weight.abs() ** power
"""


@pytest.fixture
def criteria():
    """A registry of its own kind, so that tests leave no names behind."""
    return Registry("criterion", "sparsebench.criteria", "sparsebench list methods", "sparsebench.methods")


def write(folder, name: str, text: str):
    path = folder / name
    path.write_text(text)
    return path


def test_a_users_file_is_listed_before_it_is_imported(criteria, tmp_path):
    path = write(tmp_path, "mine.py", SCORE.format(name="powered") + "\nraise SystemExit('imported')\n")
    assert criteria.add_file(path) == ["powered"]
    entry = criteria.entry("powered")
    assert (entry.summary, entry.params, entry.traits) == ("Weights to a power.", {"power": 2.0}, {"needs": "weight"})
    assert (entry.path, entry.line, entry.module) == (path, 5, None)


def test_the_digest_of_a_users_file_is_that_of_its_content(criteria, tmp_path):
    digests = []
    for text in (SCORE, SCORE + "\n", SCORE):
        criteria.add_file(write(tmp_path, "mine.py", text.format(name="powered")))
        digests.append(criteria.entry("powered").source_digest())
    assert digests[0] == digests[2] != digests[1]
    assert criteria.entry("magnitude").source_digest() is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", "line 1"),
        ("\n\nfrom sparsebench import criterion\n\n@criterion(needs=NEEDS)\ndef f(w): ...\n", "line 5.*literals"),
        ("from sparsebench import criterion\n@criterion\ndef f(w, *, p=3 * x): ...\n", "line 2|line 3"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(criteria, tmp_path, text, message):
    path = write(tmp_path, "broken.py", text)
    with pytest.raises(UsageError, match=rf"{path}, ({message})"):
        criteria.add_file(path)
    with pytest.raises(UsageError, match=r"gone\.py: cannot be read"):
        criteria.add_file(tmp_path / "gone.py")


def test_a_file_that_fails_to_import_is_named_with_its_line(tmp_path):
    path = write(tmp_path, "failing.py", SCORE.format(name="failing_one") + "\nimport no_such_package\n")
    for _ in range(2):
        with pytest.raises(UsageError, match=rf"{path}, line 9: ModuleNotFoundError: .*no_such_package"):
            registries.import_file(path)


def test_a_name_that_is_taken_is_refused_and_both_places_named(criteria, tmp_path):
    shipped = write(tmp_path, "a.py", SCORE.format(name="magnitude"))
    with pytest.raises(UsageError, match=rf"{shipped}, line 5: criterion 'magnitude' is already.*magnitude\.py, line"):
        criteria.add_file(shipped)
    first, second = (write(tmp_path, f"{n}.py", SCORE.format(name="same")) for n in "bc")
    criteria.add_file(first)
    criteria.add_file(first)
    with pytest.raises(UsageError, match=rf"{second}.*already defined in {first}"):
        criteria.add_file(second)
    twice = write(tmp_path, "d.py", SCORE.format(name="two") + SCORE.format(name="two"))
    with pytest.raises(UsageError, match=rf"{twice}, line 12.*already defined in {twice}, line 5"):
        criteria.add_file(twice)


def test_two_shipped_files_may_not_share_a_name(tmp_path, monkeypatch):
    package = tmp_path / "things"
    package.mkdir()
    for n in "ab":
        write(package, f"{n}.py", "@thing\ndef same(): ...\n")
    monkeypatch.setattr(registries, "__file__", str(tmp_path / "registry.py"))
    with pytest.raises(UsageError, match=r"b\.py, line 2: thing 'same' is already defined in .*a\.py, line 2"):
        Registry("thing", "sparsebench.things", "").names()


def test_other_packages_register_through_entry_points(criteria, tmp_path, monkeypatch):
    write(tmp_path, "plugged_in.py", SCORE.format(name="plugged"))
    monkeypatch.syspath_prepend(tmp_path)
    points = [
        EntryPoint("x", "plugged_in", "sparsebench.methods"),
        EntryPoint("y", "plugged_in", "sparsebench.methods"),
    ]
    monkeypatch.setattr(registries, "entry_points", lambda group: points)
    assert criteria.entry("plugged").module == "plugged_in"
    for module in ("not_there", "not.there"):
        monkeypatch.setattr(
            registries, "entry_points", lambda group, m=module: [EntryPoint("x", m, "sparsebench.methods")]
        )
        with pytest.raises(UsageError, match=f"'{module}', which cannot be imported"):
            Registry("criterion", "sparsebench.criteria", "", "sparsebench.methods").names()


def test_an_entry_point_may_not_hide_a_shipped_name(criteria, tmp_path, monkeypatch):
    write(tmp_path, "hiding.py", SCORE.format(name="magnitude"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registries, "entry_points", lambda group: [EntryPoint("x", "hiding", group)])
    with pytest.raises(UsageError, match=r"hiding\.py.*'magnitude' is already defined"):
        criteria.names()


def test_only_the_decorator_of_the_kind_counts(tmp_path):
    path = write(tmp_path, "m.py", "@other\ndef a(): ...\n@sb.thing(name='x')\ndef b(): ...\ndef c(): ...\n")
    assert [e.name for e in read_entries(path, "thing", None)] == ["x"]


def test_an_unknown_name_gives_the_nearest(criteria):
    with pytest.raises(UsageError, match="unknown criterion 'magnitud': did you mean 'magnitude'"):
        criteria.get("magnitud")


def test_listing_planning_and_parsing_import_no_torch():
    code = """
import sys
import sparsebench.registry, sparsebench.methods, sparsebench.cli.parser
from sparsebench.grid import board, plan
from sparsebench.registry import criterion, regime, modifier, network, dataset
for registry in (criterion, regime, modifier, network, dataset):
    assert registry.names()
plan.plan(board.load("quick").cells)
sparsebench.cli.parser.parse(["list", "methods"])
heavy = {"torch", "lightning", "torchvision", "pandas"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)
