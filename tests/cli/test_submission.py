"""``new``, ``check``, ``submit`` and ``validate`` as they are typed: what is printed, exit codes, mistakes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.grid.tampering import put
from tests.submission.conftest import METHOD, edit, record
from tests.submission.conftest import ran as ran


def one_line(said: tuple[int, str, str], code: int = 2) -> str:
    assert (said[0], said[1]) == (code, "")
    assert len(said[2].splitlines()) == 1
    assert said[2].startswith("sparsebench: ")
    return said[2]


def test_new_and_check_without_cells(sparsebench):
    code, out, err = sparsebench("new", "typed_method")
    assert (code, err) == (0, "")
    assert out.splitlines()[:2] == ["typed_method.py", "test_typed_method.py"]
    assert "sparsebench check typed_method.py" in out
    code, out, err = sparsebench("check", "typed_method.py", "--no-cells")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[-1] == "passed: typed_method. Next: sparsebench run quick --methods typed_method.py"
    assert all(line.split()[0] == "ok" for line in lines[:-1] if line.startswith("  "))
    assert {"counts", "untouched", "larger"} <= {line.split()[1] for line in lines if line.startswith("  ")}


def test_a_rule_that_fails_says_what_to_do(sparsebench):
    Path("wrong.py").write_text(
        'from sparsebench import regime\nfrom sparsebench.phases import Prune\nMETHODS = ["magnitude@too_little"]\n\n\n'
        '@regime(singleround=True)\ndef too_little(scorer, sparsity):\n    """When."""\n    yield Prune(0.1, scorer)\n'
    )
    code, out, err = sparsebench("check", "wrong.py")
    assert (code, err) == (1, "")
    assert "did you mean single_round=?" in out
    assert "asked for 0.9, it ends at 0.1" in out
    assert "-> the last Prune gets the sparsity as it was given" in out
    assert out.splitlines()[-1] == "NOT PASSED: traits, ends, trains"
    code, out, _ = sparsebench("check", "wrong.py", "--json")
    said = json.loads(out)
    failed = [verdict for verdict in said["verdicts"] if verdict["state"] == "failed"]
    assert (code, said["passed"], [v["rule"] for v in failed]) == (1, False, ["traits", "ends", "trains"])
    assert all(v["faults"] and v["remedy"] for v in failed)


MISTAKES = {
    "new": ["name", "required"],
    "new my-method": ["try 'my_method'"],
    "new fresh --kind regim": ["unknown kind 'regim'", "'regime'"],
    "new fresh --knd regime": ["unknown option '--knd'", "'--kind'"],
    "check": ["file", "required"],
    "check gone.py": ["gone.py is not a file", "sparsebench new"],
    "check .": [". is not a file"],
    "submit": ["methods", "required"],
    "submit gone.py": ["--board is missing"],
    "submit gone.py --board quick": ["gone.py is not a file"],
    "submit magnitud@imp --board quick": ["'magnitud@imp' is not known here", "--without-code"],
    "submit magnitude@imp --board quik": ["unknown board 'quik'", "'quick'"],
    "submit gone.py --board quick --without-code": ["name the methods alone"],
    "submit magnitude@imp --board quick --name ../x": ["--name '../x'", "folder"],
    "validate": ["folder", "required"],
    "validate gone": ["gone is not a folder"],
    "validate .": ["holds neither submissions"],
    "validate . --rerun -1": ["--rerun -1", "at least 0"],
    "validate . --rerun two": ["--rerun", "two"],
    "validate . --methods gone.py": ["gone.py", "cannot be read"],
}


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_one_line(typed, sparsebench):
    said = one_line(sparsebench(*typed.split()))
    for words in MISTAKES[typed]:
        assert words in said
    assert not list(Path.cwd().iterdir())


@pytest.fixture
def place(ran, tmp_path) -> Path:
    shutil.copytree(ran, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".sparsebench"))
    return tmp_path


def test_submit_and_validate(place, sparsebench):
    code, out, err = sparsebench("submit", "mine.py", "--board", "small.yaml", "--authors", "Ada L.")
    assert (code, err) == (0, "")
    folder = Path("submissions/small/mine")
    assert out.splitlines()[0] == f"{folder}: 6 records of {METHOD}"
    assert f"sparsebench validate {folder}" in out
    code, out, err = sparsebench("validate", "submissions", "--rerun", "1")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "valid: 6 records"
    assert "rerun" in [line.split()[1] for line in out.splitlines()[:-1]]
    edit(record(folder), put("metrics", "top1", 0.99))
    code, out, err = sparsebench("validate", str(folder), "--rerun", "0")
    assert (code, err) == (1, "")
    assert "FAIL arithmetic:" in out
    assert out.splitlines()[-1].startswith("NOT VALID: ")
    code, out, _ = sparsebench("validate", str(folder), "--rerun", "0", "--json")
    said = json.loads(out)
    assert (code, said["passed"], said["rules"]["arithmetic"]["failed"]) == (1, False, 1)


def test_what_is_missing_is_said_with_the_command(place, sparsebench):
    record(place / "results", seed=1).unlink()
    code, out, err = sparsebench("submit", "mine.py", "--board", "small.yaml")
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert "1 of 6 cells of board small have no record in results:" in lines
    assert "make them: sparsebench run small.yaml --methods mine.py" in lines
    assert lines[-1] == "sparsebench: not ready to submit; nothing was written"
    assert not (place / "submissions").exists()


def test_without_code(place, sparsebench):
    (place / "mine.py").unlink()
    words = ("submit", METHOD, "--board", "small.yaml")
    assert "--without-code" in one_line(sparsebench(*words))
    code, out, err = sparsebench(*words, "--without-code", "--name", "theirs")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].endswith("6 records of " + METHOD + ", unverified")
    code, out, _ = sparsebench("validate", "submissions/small/theirs")
    assert code == 0
    assert "note: theirs is unverified" in out
