"""Real worker processes: killed, interrupted, and two runs on one store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import sparsebench.grid.stages as stages
from sparsebench.grid.board import load
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.plan import plan
from sparsebench.grid.store import Store

BOARD = """
name: slow
version: 1
title: A few seconds of training
tasks:
  - base: digits-mlp
    name: slow-mlp
    network_arguments: {hidden: [16, 12]}
    recipe: {epochs: 150, mask_every: 40}
methods: [magnitude@gmp]
sparsities: [0.75]
seeds: [0]
"""


@pytest.fixture
def board(tmp_path) -> Path:
    path = tmp_path / "slow.yaml"
    path.write_text(BOARD)
    return path


def command(board: Path, *options: str) -> list[str]:
    words = [sys.executable, "-m", "sparsebench", "run", str(board), "--workers", "1", "--checkpoint-seconds", "0"]
    return [*words, *options]


def start(board: Path) -> subprocess.Popen:
    return subprocess.Popen(
        command(board),
        cwd=board.parent,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for_a_checkpoint(board: Path) -> None:
    """Until the first training is some epochs in."""
    deadline = time.monotonic() + 90
    while not list((board.parent / ".sparsebench" / "stages").glob("*/checkpoint.ckpt")):
        assert time.monotonic() < deadline, "no checkpoint appeared"
        time.sleep(0.02)


def worker_of(parent: int) -> int:
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return int(pid)
    raise AssertionError("no worker process found")


def finish(board: Path) -> dict[str, dict]:
    """Run to the end and return every record's metrics."""
    done = subprocess.run(command(board), cwd=board.parent, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    store = Store(board.parent / ".sparsebench")
    return {cell.id: store.record(cell.id).data["metrics"] for cell in load(str(board)).cells}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the worker through /proc")
def test_a_killed_worker_fails_its_cells_and_a_rerun_equals_an_uninterrupted_run(board, tmp_path):
    run = start(board)
    wait_for_a_checkpoint(board)
    os.kill(worker_of(run.pid), signal.SIGKILL)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "the worker process died" in errors
    assert "Traceback" not in errors
    resumed = finish(board)
    fresh = tmp_path / "fresh" / "slow.yaml"
    fresh.parent.mkdir()
    fresh.write_text(BOARD)
    assert finish(fresh) == resumed


def test_ctrl_c_ends_in_one_line_and_the_next_run_goes_on(board):
    run = start(board)
    wait_for_a_checkpoint(board)
    os.killpg(run.pid, signal.SIGINT)
    began = time.monotonic()
    _, errors = run.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert run.returncode == 130
    assert "the same command goes on from there" in errors
    assert "Traceback" not in errors
    assert len(finish(board)) == 2


def test_two_runs_at_once_train_a_stage_once(board, tmp_path, monkeypatch):
    stage = next(iter(plan(load(str(board)).cells).stages.values()))
    store, trained = Store(tmp_path / "s").create(), []

    def slow_train(state, *rest):
        trained.append(threading.get_ident())
        time.sleep(0.5)

    monkeypatch.setattr(stages, "train", slow_train)
    both = [threading.Thread(target=stages.run_stage, args=(stage, store, Hardware())) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(timeout=60)
    assert len(trained) == 1
    assert store.done_stages() == {stage.id}
