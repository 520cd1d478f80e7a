"""kill -9 at random moments; what is computed in the end equals an undisturbed run bit for bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sparsebench.cli import main
from sparsebench.grid.store import Store
from tests.survival import diary
from tests.survival.workplace import (
    MLP,
    RESNET,
    Reader,
    alive,
    board_text,
    content,
    held_locks,
    start,
    undisturbed,
    unfinished_files,
    wait_for,
)

FEW = ("magnitude@imp(rate=0.5, rewind=0.25)", "magnitude@gmp", "topkast")
MANY = (*FEW, "rigl", "l1@finetune", "wanda/2:4@oneshot", "str", "snip@init+shuffle")


@pytest.mark.parametrize(
    ("methods", "tasks", "victims"),
    [
        pytest.param(FEW, (MLP.format(6),), {"worker": 1, "parent": 1, "group": 1}, id="3"),
        pytest.param(
            MANY,
            (MLP.format(12), RESNET.format(4)),
            {"worker": 8, "parent": 6, "group": 4, "server": 2},
            id="20",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_killed_again_and_again(folder, tmp_path_factory, methods, tasks, victims):
    text = board_text(*methods, tasks=tasks)
    expected = undisturbed(text, tmp_path_factory.mktemp("undisturbed"))
    Path("small.yaml").write_text(text)
    Path("spy.py").write_text(diary.SPY.format(methods=list(methods)))

    with Reader(".sparsebench") as reader:
        slaughter = Slaughter(notes_of(expected), victims, seed=20)
        slaughter.run()
        last = Store(".sparsebench").done_stages()
        began = len(diary.read("diary.txt"))
        age_everything(Path(".sparsebench"))
        assert main(["run", "small.yaml", "--methods", "spy.py", "--workers", "2", "--checkpoint-seconds", "0"]) == 0

    assert content(".sparsebench") == expected
    assert reader.faults == []
    assert reader.loads > 0
    assert not Path(".sparsebench/damaged").exists()
    assert unfinished_files("results") == []
    notes = diary.read("diary.txt")
    attempts = diary.trainings(notes)
    for stage, report in expected["stages"].items():
        if report["steps"]:
            assert diary.wasted(stage, attempts[stage], report["epochs"]) == []
    assert {note.name for note in notes[began:] if note.what == "stored"}.isdisjoint(last)
    kinds = Counter(attempt.kind for tries in attempts.values() for attempt in tries)
    print(f"killed {dict(slaughter.killed)}; trainings {dict(kinds)}; {reader.loads} loads; gone {slaughter.gone}")
    assert slaughter.killed == Counter(victims)
    assert kinds["resumed"] >= sum(victims.values()) // 5  # three may all hit between two trainings


def notes_of(expected: dict) -> int:
    """How many notes an undisturbed run leaves."""
    trained = [report for report in expected["stages"].values() if report["steps"]]
    return int(sum(2 + r["epochs"] for r in trained)) + len(expected["stages"]) + len(expected["records"])


def age_everything(store: Path) -> None:
    """Clocks jump: half of all files are from the future, the others from long ago; locks of dead runs among them."""
    for i, path in enumerate(sorted(store.rglob("*"))):
        moment = 4e9 if i % 2 else 0
        os.utime(path, (moment, moment))


@dataclass
class Slaughter:
    """Starts a run, kills one of its processes when a random number of notes has been written, and so on."""

    notes: int
    victims: dict[str, int]
    seed: int
    killed: Counter = field(default_factory=Counter)
    gone: list[float] = field(default_factory=list)
    """Seconds after which no process was left of a run whose parent was killed."""

    def run(self) -> None:
        rng = random.Random(self.seed)
        order = [kind for kind, n in self.victims.items() for _ in range(n)]
        rng.shuffle(order)
        moments = sorted(rng.sample(range(1, int(0.9 * self.notes)), len(order)))
        self._process = self._start()
        for moment, victim in zip(moments, order, strict=True):
            self._until(moment)
            time.sleep(rng.uniform(0, 0.3))  # anywhere between two notes
            self._kill(victim, rng)
        self._process.kill()
        self._bury(self._process)

    def _start(self) -> subprocess.Popen:
        return start("--methods", "spy.py", "--workers", "2")

    def _until(self, moment: int) -> None:
        """Wait for so many notes; a run that ends with failed cells before is started again."""

        def reached() -> bool:
            if self._process.poll() is not None:
                self._bury(self._process)
                self._process = self._start()
            return len(diary.read("diary.txt")) >= moment

        wait_for(reached, 300)

    def _kill(self, victim: str, rng: random.Random) -> None:
        session = self._process.pid
        if victim in ("worker", "server"):
            # Between two runs, and while one starts, there is none to be killed.
            wait_for(lambda: self._process.poll() is not None or processes(session)[victim], 300)
            if self._process.poll() is not None:
                self._until(0)
                return self._kill(victim, rng)
            os.kill(rng.choice(processes(session)[victim]), signal.SIGKILL)
        else:
            (os.killpg if victim == "group" else os.kill)(session, signal.SIGKILL)
            # The next one starts at once, while workers of the last may still hold locks.
            last, self._process = self._process, self._start()
            self._bury(last)
        self.killed[victim] += 1

    def _bury(self, process: subprocess.Popen) -> None:
        """No process of a run outlives its parent for long."""
        began = time.monotonic()
        _, err = process.communicate(timeout=60)
        assert process.returncode in (0, 1, -signal.SIGKILL), err
        assert "Traceback" not in err, err
        wait_for(lambda: not alive(process.pid), 15)
        self.gone.append(round(time.monotonic() - began, 1))


def processes(session: int) -> dict[str, list[int]]:
    """Workers of a run that have begun to work, and the process they were forked from."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[3]) == session and words[0] != "Z":
            parents[int(path.parent.name)] = int(words[1])
    begun = {note.process for note in diary.read("diary.txt")}
    workers = [pid for pid in parents if pid in begun]
    return {"worker": workers, "server": sorted({parents[pid] for pid in workers} & set(parents) - {session})}


STUCK = """
import time
from sparsebench import criterion


@criterion(needs="weight", regime="init")
def stuck(weight):
    open("stuck", "w").close()
    time.sleep(3600)
"""


def test_a_worker_that_hangs_leaves_with_its_parent(folder):
    """It would never notice that nobody listens to it any more."""
    Path("small.yaml").write_text(board_text("magnitude@init"))
    Path("stuck.py").write_text(STUCK)
    process = start("--methods", "stuck.py", "--workers", "2")
    wait_for(Path("stuck").exists)
    assert held_locks()
    process.kill()
    process.wait()
    wait_for(lambda: not alive(process.pid), 10)
    assert held_locks() == []


def test_locks_are_free_when_their_holder_is_dead(folder):
    """A lock is the system's, not the file's: nothing of a dead process blocks, whatever the file says."""
    store = Store("store").create()
    holder = """
import os, signal
from sparsebench.grid.store import Store
store = Store("store")
lock = store.lock("stage")
assert store.claim(lock)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", holder]).returncode == -signal.SIGKILL
    Path("store/locks/stage.lock").write_text(str(os.getpid()))
    os.utime("store/locks/stage.lock", (4e9, 4e9))
    assert held_locks("store") == []
    lock = store.lock("stage")
    assert store.claim(lock)
    assert held_locks("store") == ["stage"]
    lock.release()
