"""Two launchers on one store share the work; when one is killed the other takes over."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.survival import diary
from tests.survival.workplace import (
    MLP,
    Reader,
    alive,
    board_text,
    content,
    held_locks,
    start,
    undisturbed,
    wait_for,
)

METHODS = ["magnitude@init", "random@init", "magnitude@gmp", "magnitude@finetune"]
RENDEZVOUS = """
import time


def others():
    with open(os.environ["DIARY"]) as file:
        return {line.split()[0] for line in file if " here " in line}


if multiprocessing.parent_process():
    note("here", "-")
    limit = time.monotonic() + 120
    while len(others()) < 2 and time.monotonic() < limit:
        time.sleep(0.01)
"""
"""Nobody begins before workers of both launchers are there: starting takes longer than several stages."""


@pytest.mark.slow
def test_both_do_a_fair_part_and_one_takes_over_from_the_other(folder, tmp_path_factory):
    text = board_text(*METHODS, tasks=(MLP.format(8),), seeds=range(6))
    expected = undisturbed(text, tmp_path_factory.mktemp("undisturbed"))
    Path("small.yaml").write_text(text)
    Path("spy.py").write_text(diary.SPY.format(methods=METHODS) + RENDEZVOUS)

    def stored() -> list[diary.Note]:
        return [note for note in diary.read("diary.txt") if note.what == "stored"]

    with Reader(".sparsebench") as reader:
        first, second = (start("--methods", "spy.py", "--workers", "1") for _ in range(2))
        half = len(expected["stages"]) // 2
        wait_for(lambda: len(stored()) >= half and held(first.pid), 300)
        shares = Counter(note.session for note in stored())
        victim = held(first.pid)
        os.kill(first.pid, signal.SIGKILL)
        killed = time.monotonic()
        wait_for(lambda: not alive_or_reaped(first), 15)
        freed = time.monotonic() - killed
        wait_for(lambda: victim in {note.name for note in stored() if note.session == second.pid}, 120)
        taken = time.monotonic() - killed
        out, err = second.communicate(timeout=300)
    assert second.returncode == 0, err
    assert "Traceback" not in err
    assert f"{len(expected['records'])} cells done" in out
    assert min(shares[first.pid], shares[second.pid]) > sum(shares.values()) / 4, shares
    assert reader.faults == []
    assert content(".sparsebench") == expected
    assert held_locks() == []
    attempts = diary.trainings(diary.read("diary.txt"))
    again = {stage for stage, tries in attempts.items() if len(tries) > 1}
    assert again <= {victim}, "the only stage begun twice is the one whose worker died"
    assert max(Counter(note.name for note in stored()).values()) == 1
    assert not [w for s, t in attempts.items() for w in diary.wasted(s, t, expected["stages"][s]["epochs"])]
    print(f"shares {sorted(shares.values())} of {half}; locks free after {freed:.1f} s, taken over after {taken:.1f} s")


def held(session: int) -> str | None:
    """The stage that a run's worker is in the middle of."""
    notes = [note for note in diary.read("diary.txt") if note.session == session]
    return notes[-1].name if notes and notes[-1].what == "epoch" else None


def alive_or_reaped(process) -> bool:
    process.poll()
    return alive(process.pid)
