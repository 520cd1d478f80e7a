"""Clocks that jump, in the run and in its workers, neither stop a job nor keep one from starting."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from sparsebench.cli import main
from tests.survival.workplace import MLP, board_text, content, held_locks, undisturbed

JUMPY = """
import itertools
import multiprocessing
import time

METHODS = ["magnitude@finetune"]
jumps = itertools.cycle([0, 4e9, 1e9, 3e7])
if multiprocessing.parent_process():
    time.time = lambda: next(jumps)
"""
"""A method file that plays with the clock of the workers; the test does with its own."""


def test_clocks_that_jump(folder, tmp_path_factory, monkeypatch):
    text = board_text("magnitude@finetune", tasks=(MLP.format(2),))
    expected = undisturbed(text, tmp_path_factory.mktemp("undisturbed"))
    Path("small.yaml").write_text(text)
    Path("jumpy.py").write_text(JUMPY)
    jumps = itertools.cycle([0, 4e9, 1e9, 3e7])
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    command = ["run", "small.yaml", "--methods", "jumpy.py", "--workers", "2", "--time-limit", "300"]
    assert main([*command, "--checkpoint-seconds", "100000"]) == 0
    assert content(".sparsebench") == expected
    assert held_locks() == []
