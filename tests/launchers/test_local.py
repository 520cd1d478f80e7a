"""Real worker processes: killed, interrupted, doubled; what a rerun makes of it equals an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from multiprocessing import active_children
from pathlib import Path

import pytest
from PIL import Image

from sparsebench.cli import main
from sparsebench.cli.display import Display
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context
from sparsebench.grid.plan import plan
from sparsebench.grid.store import Store
from sparsebench.launchers.local import LocalLauncher
from sparsebench.record import Record
from tests.launchers.small import board_text, in_one_process, metrics_of
from tests.survival.workplace import alive, start, training, wait_for

SPY = """
import multiprocessing
import os

METHODS = ["magnitude@gmp", "random/erk@init", "magnitude@finetune(epochs=0.5)"]


def watch():
    import sparsebench.grid.perform as perform

    def counted(state, *rest, train=perform.train):
        train(state, *rest)
        with open(os.environ["TRAINED"], "a") as log:
            log.write(state.stage.id + "\\n")

    perform.train = counted


if multiprocessing.parent_process():  # a worker; the command itself imports this file too
    watch()
"""
"""A method file: every worker imports it, and notes each training that it brings to its end."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What the board gives when nothing happens, by cell."""
    return in_one_process(board_text(), tmp_path_factory.mktemp("s"))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with the board and the spy."""
    (tmp_path / "small.yaml").write_text(board_text())
    (tmp_path / "spy.py").write_text(SPY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRAINED", str(tmp_path / "trained.log"))
    return tmp_path


def interrupt(process: subprocess.Popen) -> None:
    """Ctrl-C: SIGINT to everything in the foreground; it must end quickly, quietly and completely."""
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert process.returncode == 130, err
    assert "Traceback" not in out + err
    assert err.splitlines()[-1].startswith("sparsebench: stopped")
    wait_for(lambda: not alive(process.pid), 10)


def test_a_killed_worker_costs_its_cell_and_no_other(folder, undisturbed, monkeypatch, capsys):
    board, expected = undisturbed
    victim = next(cell for cell in board.cells if "gmp" in cell.method.name)
    stage = plan(board.cells).chains[victim.id][-1]
    checkpoint = Store(".sparsebench").stage(stage) / "checkpoint.ckpt"
    killed = []

    def kill_once(self, progress):
        if not killed and victim.label in progress.running.values():
            wait_for(checkpoint.exists)
            killed.extend(active_children())
            os.kill(killed[0].pid, signal.SIGKILL)

    monkeypatch.setattr(Display, "update", kill_once)
    command = ["run", "small.yaml", "--workers", "1", "--checkpoint-seconds", "0"]
    assert main(command) == 1
    err = capsys.readouterr().err
    assert f"1 cell failed ({victim.label}): the worker process died (exit code -9)" in err
    assert metrics_of(folder).keys() == expected.keys() - {victim.id}
    published = {r.data["cell_id"]: r for r in map(Record.load, Path("results").rglob("*.json"))}
    assert {cell for cell, record in published.items() if not record.ok} == {victim.id}
    assert "worker process died" in published[victim.id].data["error"]

    assert checkpoint.exists()
    assert main(command) == 0
    assert metrics_of(folder) == expected


def test_ctrl_c_and_two_runs_at_once(folder, undisturbed):
    _, expected = undisturbed
    run_ = start("--workers", "2", "--methods", "spy.py")
    wait_for(training)
    interrupt(run_)
    assert metrics_of(folder).keys() < expected.keys()

    both = [start("--workers", "1", "--methods", "spy.py") for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert not any("Traceback" in err for _, err in said)
    assert metrics_of(folder) == expected
    trained = Counter((folder / "trained.log").read_text().split())
    assert set(trained) == set(Store(".sparsebench").done_stages())
    assert set(trained.values()) == {1}, "a stage was trained twice"
    assert all("4 cells done" in out for out, _ in said)
    assert Path("results/small/leaderboard.md").exists()


def deaf_to_ctrl_c(pid: int) -> bool:
    """Whether a process blocks or ignores SIGINT, as the kernel tells it."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool((int(status["SigBlk"], 16) | int(status["SigIgn"], 16)) >> (signal.SIGINT - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are read from /proc")
def test_ctrl_c_while_workers_start(folder):
    """They must not see it from their very first instruction on, or their start ends in tracebacks."""
    process = start("--workers", "2")

    def children(pid: int) -> list[int]:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    wait_for(lambda: len(children(process.pid)) == 2)  # multiprocessing's tracker, and the one that workers come from
    assert all(deaf_to_ctrl_c(child) for child in children(process.pid))
    wait_for(lambda: any(children(child) for child in children(process.pid)))
    workers = [worker for child in children(process.pid) for worker in children(child)]
    assert all(deaf_to_ctrl_c(worker) for worker in workers)
    interrupt(process)


BROKEN_OFF = """
import os
from multiprocessing import forkserver
os.environ["SPARSEBENCH_PARENT"] = str(os.getpid())
forkserver.set_forkserver_preload(["sparsebench.launchers.warm"])
forkserver.ensure_running()
answer, work = forkserver.connect_to_new_process([])
os.close(work)
assert forkserver.read_signed(answer) > 0
print("ended with", forkserver.read_signed(answer))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux")
def test_a_worker_that_is_told_nothing_ends_quietly():
    """Ctrl-C may come between its birth and the news of what it is to do."""
    done = subprocess.run([sys.executable, "-c", BROKEN_OFF], capture_output=True, text=True, timeout=120, check=True)
    assert (done.stdout, done.stderr) == ("ended with 1\n", "")


def test_ctrl_c_before_workers_start(folder):
    """The imports of the process they come from take seconds, in which this one waits for it."""
    process = start("--workers", "2")
    wait_for(lambda: len(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()) == 2)
    interrupt(process)


def test_ctrl_c_in_this_process(folder):
    """Lightning turns Ctrl-C into exit code 1; the command's is 130 whatever the launcher."""
    process = start("--launcher", "inline")
    wait_for(training)
    interrupt(process)


def test_a_worker_that_dies_idle_is_replaced_and_its_job_reported():
    launcher = LocalLauncher(1, Context("nowhere", Hardware(), "test"))
    try:
        (first,) = launcher._crews[0]._members.values()
        first.kill()
        first.join()
        launcher.submit("job", None)
        outcomes = []
        wait_for(lambda: outcomes.extend(launcher.finished(timeout=1)) or outcomes)
        (outcome,) = outcomes
        assert outcome.job_id == "job"
        assert "died (exit code -9)" in outcome.error
        assert launcher.room == 1
        (second,) = launcher._crews[0]._members.values()
        assert second.is_alive()
    finally:
        launcher.close(kill=True)


FOLDERS = """
name: folders
version: 1
title: Images on disk
tasks: [{name: tiny-folder, dataset: "imagefolder:FOLDER", network: mlp, network_arguments: {hidden: [4]},
         recipe: {epochs: 1, rate: 0.1, global_batch: 8}}]
methods: [snip@init]
sparsities: [0.5]
seeds: [0]
"""


def test_images_on_disk_are_decoded_by_processes_of_the_worker(folder):
    """A worker may have children, which multiprocessing denies its own."""
    draw = random.Random(0)
    for split, images in (("train", 16), ("val", 5)):
        for kind in ("cats", "dogs"):
            (folder / "images" / split / kind).mkdir(parents=True)
            for number in range(images):
                picture = Image.frombytes("RGB", (40, 30), draw.randbytes(3600))
                picture.save(folder / "images" / split / kind / f"{number}.png")
    (folder / "folders.yaml").write_text(FOLDERS.replace("FOLDER", str(folder / "images")))
    assert main(["run", "folders.yaml", "--workers", "1"]) == 0
    assert len(metrics_of(folder)) == 2
