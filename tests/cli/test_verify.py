"""``sparsebench verify``: what it prints, its exit codes, and that records alone need no torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sparsebench.grid.stages as stages
from sparsebench.grid.run import publish
from tests.grid.conftest import run_inline, tiny_board


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with store and results of five cells, from code that is said to be clean."""
    folder, made_by = tmp_path_factory.mktemp("made"), stages.provenance
    board = tiny_board("magnitude@imp", "snip@init", sparsities=(0.5, 0.75))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "provenance", lambda *a, **k: made_by(*a, **k) | {"commit": "c" * 40, "dirty": False})
        result = run_inline(board, folder / "store")
    assert not result.failed
    publish(board, result, folder / "results")
    return folder


def test_a_sound_store_and_its_results(made, sparsebench):
    code, out, err = sparsebench("verify", str(made / "store"), "--measure")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "verified: 5 records and 5 stages"
    assert [line.split()[0] for line in out.splitlines()[:-1]] == [
        "rule", "record", "provenance", "arithmetic", "chain", "digests", "masks", "weights", "nesting", "measure",
    ]  # fmt: skip
    code, out, _ = sparsebench("verify", str(made / "results"), "--store", str(made / "store"))
    assert code == 0
    assert f"note: 5 records have their networks in {made / 'store'}, 0 have none there" in out


def test_failures_are_few_lines_and_all_of_them_as_json(made, sparsebench, tmp_path):
    shutil.copytree(made / "results" / "tiny", tmp_path / "tiny")
    for path in list((tmp_path / "tiny").rglob("*.json")):
        for copy in range(10):
            shutil.copy(path, path.with_name(f"{copy}\x1b.json"))
    code, out, err = sparsebench("verify", "tiny")
    lines = out.splitlines()
    assert (code, err) == (1, "")
    assert sum(line.startswith("FAIL record: tiny/") for line in lines) == 20
    assert lines[-2:] == ["and 10 more (all of them: --json)", "NOT VERIFIED: 30 of 50 checks failed on 35 records"]
    assert "\x1b" not in out
    code, out, _ = sparsebench("verify", "tiny", "--json")
    said = json.loads(out)
    failed = [check for check in said["checks"] if not check["passed"]]
    assert (code, said["passed"], len(failed)) == (1, False, 30)
    assert said["rules"]["record"] == {"passed": 5, "failed": 30}
    assert all("file name is" in check["reasons"][0] and check["file"] for check in failed)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["nowhere"], "nowhere is not a folder"),
        (["."], "neither a store"),
        (["{made}/store", "--store", "{made}/store"], "is a store itself"),
        (["{made}/results", "--store", "."], "--store . is not a store"),
        (["{made}/results", "--measure"], "name their store by --store"),
        ([], "arguments are required: folder"),
    ],
)
def test_a_mistake_is_one_line(words, why, made, sparsebench):
    code, out, err = sparsebench("verify", *(word.format(made=made) for word in words))
    assert (code, out) == (2, "")
    assert why in err
    assert err.count("\n") == 1


def test_records_alone_need_no_torch(made):
    code = (
        "import sys\nfrom sparsebench.cli import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "assert not {'torch', 'lightning', 'safetensors'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "verify", str(made / "results")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
