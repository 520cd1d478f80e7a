"""SIGTERM, as schedulers and service managers send it: a prompt and complete end, and a rerun that goes on."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from sparsebench.cli import main
from tests.survival import diary
from tests.survival.workplace import (
    MLP,
    alive,
    board_text,
    content,
    held_locks,
    start,
    training,
    undisturbed,
    wait_for,
)


@pytest.mark.parametrize(
    "options", [("--workers", "2"), pytest.param(("--launcher", "inline"), marks=pytest.mark.slow)], ids=lambda o: o[1]
)
def test_sigterm_ends_a_run_cleanly(folder, tmp_path_factory, options):
    text = board_text("dense", tasks=(MLP.format(24),))
    Path("small.yaml").write_text(text)
    Path("spy.py").write_text(diary.SPY.format(methods=["dense"]))
    process = start("--methods", "spy.py", *options)
    wait_for(training)
    began = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert process.returncode == 143, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("sparsebench: terminated; what is finished stays")
    wait_for(lambda: not alive(process.pid), 10)
    assert held_locks() == []
    assert training()

    assert main(["run", "small.yaml", "--methods", "spy.py", "--workers", "2"]) == 0
    kinds = [attempt.kind for tries in diary.trainings(diary.read("diary.txt")).values() for attempt in tries]
    assert "resumed" in kinds
    assert content(".sparsebench") == undisturbed(text, tmp_path_factory.mktemp("undisturbed"))
