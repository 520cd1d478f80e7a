"""Slurm: elements that share a store, as processes of this machine and on a real Slurm where it is installed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from sparsebench.cli import main
from sparsebench.grid.store import Store
from sparsebench.masks import Masks
from sparsebench.record import Record
from tests.launchers.small import board_text, in_one_process, metrics_of
from tests.survival.workplace import wait_for

pytest.importorskip("submitit", reason="sparsebench[slurm] is not installed")

OWN = ("magnitude@gmp", "random/erk@init")
SPY = """
import os
import sparsebench.grid.perform as perform
from sparsebench import criterion

METHODS = ["magnitude@gmp", "random/erk@init", "broken@init"]
train = perform.train


def note(what):
    with open(os.environ["SPY_LOG"], "a") as log:
        log.write(what + "\\n")


def counted(state, *rest):
    train(state, *rest)
    if "SPY_LOG" in os.environ:  # the process of the tests reads this file too, and goes on to other tests
        note(state.stage.id)


perform.train = counted


@criterion(needs="weight")
def broken(weight):
    '''score = none'''
    note("broken")
    raise RuntimeError("no scores today")
"""
"""A method file: every worker imports it; it notes each training brought to its end and each try of a broken method."""
SLURM = ["--launcher", "slurm", "--accelerator", "cpu", "--checkpoint-seconds", "0"]
LOCAL = [*SLURM, "--slurm", "cluster=local", "time=30"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a board of so many epochs gives in one process: metrics by cell, and its store."""
    known = {}

    def get(epochs: int) -> tuple[dict[str, dict], Store]:
        if epochs not in known:
            store = tmp_path_factory.mktemp("store")
            known[epochs] = in_one_process(board_text(epochs, OWN), store)[1], Store(store)
        return known[epochs]

    return get


@pytest.fixture(scope="module")
def spy(tmp_path_factory) -> str:
    """One file for all tests: a process takes a criterion of one name from one file only."""
    path = tmp_path_factory.mktemp("spy") / "spy.py"
    path.write_text(SPY)
    return str(path)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    (tmp_path / "small.yaml").write_text(board_text(4, OWN))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPY_LOG", str(tmp_path / "spy.log"))
    return tmp_path


@pytest.fixture
def good(spy) -> list[str]:
    """The board's own methods, spied upon."""
    return ["--methods", f"{spy}:magnitude@gmp", f"{spy}:random/erk@init"]


def trained(folder: Path) -> Counter:
    return Counter((folder / "spy.log").read_text().split())


# Elements as processes of this machine


def test_two_elements_share_the_work_and_a_broken_method_is_tried_once(folder, undisturbed, capsys, spy):
    expected, alone = undisturbed(4)
    assert main(["run", "small.yaml", *LOCAL, "--workers", "2", "--methods", spy]) == 1
    said = capsys.readouterr()
    assert "1 cell failed (small-mlp broken@init 0.75 seed 0): RuntimeError: no scores today" in said.err
    assert metrics_of(folder) == expected
    counts = trained(folder)
    assert counts.pop("broken") == 1
    assert counts == dict.fromkeys(alone.done_stages(), 1)
    (logs,) = Path(".sparsebench/slurm").iterdir()
    assert len(json.loads((logs / "array.json").read_text())["elements"]) == 2
    assert not Path(".sparsebench/failures").exists()


@pytest.mark.slow
def test_an_element_that_is_killed_is_replaced_by_the_others(folder, undisturbed, good):
    (folder / "small.yaml").write_text(board_text(60, OWN))
    expected, _ = undisturbed(60)
    command = [sys.executable, "-m", "sparsebench", "run", "small.yaml", *LOCAL, "--workers", "2", *good]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(folder.glob(".sparsebench/stages/*/checkpoint.ckpt")))
    element, *_ = children(children(process.pid)[0])
    os.kill(element, signal.SIGKILL)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    assert metrics_of(folder) == expected


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_when_all_elements_are_killed_the_reason_is_reported_and_the_same_command_goes_on(
    folder, undisturbed, capsys, good
):
    (folder / "small.yaml").write_text(board_text(60, OWN))
    expected, _ = undisturbed(60)
    command = [sys.executable, "-m", "sparsebench", "run", "small.yaml", *LOCAL, "--workers", "1", *good]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(folder.glob(".sparsebench/stages/*/checkpoint.ckpt")))
    controller = children(process.pid)[0]
    element = children(controller)[0]
    os.kill(controller, signal.SIGKILL)
    os.kill(element, signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, out + err
    assert "all elements of the Slurm array ended before this was done: INTERRUPTED (1); logs:" in err
    assert main(["run", "small.yaml", *LOCAL, "--workers", "1", *good]) == 0
    assert metrics_of(folder) == expected


@pytest.mark.slow
def test_detached_elements_go_on_and_a_job_publishes(folder, undisturbed, good):
    expected, _ = undisturbed(4)
    command = [sys.executable, "-m", "sparsebench", "run", "small.yaml", *LOCAL, "--workers", "2", *good, "--detach"]
    left = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert left.returncode == 0, left.stderr
    assert "submitted: array" in left.stdout
    assert "sparsebench status small.yaml" in left.stdout
    wait_for(Path("results/small/leaderboard.md").exists, 180)
    assert metrics_of(folder) == expected


def masks_of(store: Store) -> dict[str, Masks]:
    return {path.parent.name: Masks.load(path) for path in store.stages.glob("*/masks.safetensors")}


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 2])
def test_two_ranks_give_the_same_masks(nodes, folder, undisturbed, monkeypatch, good):
    """Two devices of one node (worker processes of one task), and two nodes (two tasks, here of one machine)."""
    import sparsebench.launchers.slurm as slurm

    words = ["--devices", "2"]
    if nodes == 2:
        words = ["--nodes", "2"]
        monkeypatch.setattr(slurm, "for_elements", lambda hardware, asked: {"tasks_per_node": 2, "timeout_min": 30})
    assert main(["run", "small.yaml", *LOCAL, "--workers", "2", *words, *good]) == 0
    expected, found = masks_of(undisturbed(4)[1]), masks_of(Store(".sparsebench"))
    assert {name: masks.digest() for name, masks in found.items()} == {n: m.digest() for n, m in expected.items()}
    records = [Record.load(path).data for path in Path(".sparsebench/records").glob("*.json")]
    assert {record["provenance"]["world_size"] for record in records} == {2}


# A real Slurm


@pytest.fixture(scope="module")
def slurm():
    from tests.launchers.slurm_node import NoSlurm, slurm_node

    with pytest.MonkeyPatch.context() as patch:
        try:
            node = slurm_node()
            conf = node.__enter__()
        except NoSlurm as why:
            pytest.skip(str(why))
        try:
            patch.setenv("SLURM_CONF", str(conf))
            patch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin")
            yield
        finally:
            node.__exit__(None, None, None)


def queue(*words: str) -> list[str]:
    return subprocess.run(["squeue", "-h", *words], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.slow
def test_real_slurm_runs_the_array_and_then_the_job_that_publishes(slurm, folder, undisturbed, spy):
    expected, alone = undisturbed(4)
    command = [sys.executable, "-m", "sparsebench", "run", "small.yaml", *SLURM, "--workers", "2"]
    command += ["--slurm", "partition=main", "time=30", "--methods", spy, "--detach"]
    left = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert left.returncode == 0, left.stderr
    waits = [line for line in queue("--format=%E") if "afterany" in line]
    assert len(waits) == 1, "the second job depends on the array"
    wait_for(lambda: not queue(), 180)
    assert metrics_of(folder) == expected
    counts = trained(folder)
    assert counts.pop("broken") == 1
    assert counts == dict.fromkeys(alone.done_stages(), 1)
    published = [Record.load(path) for path in Path("results/small").rglob("*.json")]
    assert sum(record.ok for record in published) == len(expected)
    assert [record.data["error"] for record in published if not record.ok] == ["RuntimeError: no scores today"]
    assert Path("results/small/leaderboard.md").exists()


@pytest.mark.slow
def test_real_slurm_cancelled_in_the_middle(slurm, folder, undisturbed, capsys, good):
    (folder / "small.yaml").write_text(board_text(60, OWN))
    expected, alone = undisturbed(60)
    words = ["run", "small.yaml", *SLURM, "--workers", "2", "--slurm", "time=30", *good]
    process = subprocess.Popen(
        [sys.executable, "-m", "sparsebench", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: list(folder.glob(".sparsebench/stages/*/checkpoint.ckpt")))
    subprocess.run(["scancel", *set(queue("--format=%F"))], check=True)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, out + err
    assert "all elements of the Slurm array ended before this was done: CANCELLED (2)" in err
    assert "worker process died" not in err
    assert main(words) == 0
    assert metrics_of(folder) == expected
    assert trained(folder) == dict.fromkeys(alone.done_stages(), 1)


@pytest.mark.slow
def test_real_slurm_refuses_in_a_line(slurm, folder, capsys):
    assert main(["run", "small.yaml", *SLURM, "--workers", "2", "--slurm", "time=30", "partition=none"]) == 2
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.startswith("sparsebench: Slurm refuses the job:")
    assert "invalid partition" in err
