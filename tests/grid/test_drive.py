"""Drive: order, failures and damage, with a launcher that only pretends to work."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from sparsebench.grid.drive import drive
from sparsebench.launchers import Outcome, Progress


@dataclass(frozen=True)
class FakeJob:
    label: str


class FakeLauncher:
    """Runs so many jobs at a time and finishes them in a random order; notes when each began and ended."""

    def __init__(
        self, workers: int = 1, fails: dict[str, str] | None = None, seed: int = 0, damaged: str | None = None
    ):
        self.workers, self.fails, self.damaged = workers, fails or {}, damaged
        self.running: list[str] = []
        self.began: list[str] = []
        self.events: list[tuple[str, str]] = []
        self._random = random.Random(seed)

    @property
    def room(self) -> int:
        return self.workers - len(self.running)

    def submit(self, job_id: str, job: FakeJob) -> None:
        assert self.room > 0, "more jobs than room"
        assert job_id not in self.began, "the same job twice"
        self.running.append(job_id)
        self.began.append(job_id)
        self.events.append(("began", job_id))

    def finished(self, timeout: float) -> list[Outcome]:
        assert self.running, "waited for nothing"
        name = self.running.pop(self._random.randrange(len(self.running)))
        self.events.append(("ended", name))
        return [Outcome(name, self.fails.get(name), self.damaged if name in self.fails else None)]


def run(waits: dict[str, set[str]], launcher: FakeLauncher, listener=lambda progress: None) -> Progress:
    return drive({name: FakeJob(name) for name in waits}, waits, launcher, listener)


def test_the_longest_way_goes_first():
    waits = {"short": set(), "a": set(), "b": {"a"}, "c": {"b"}}
    launcher = FakeLauncher()
    run(waits, launcher)
    assert launcher.began == ["a", "b", "c", "short"] or launcher.began == ["a", "b", "short", "c"]


def test_cells_go_before_stages_that_lead_no_further():
    launcher = FakeLauncher()
    run({"stage": set(), "cell:x": set()}, launcher)
    assert launcher.began == ["cell:x", "stage"]


@pytest.mark.parametrize("seed", range(20))
def test_every_job_runs_once_after_those_it_waits_for(seed):
    """Random DAGs of 40 jobs on three workers."""
    draw = random.Random(seed)
    names = [f"j{i:02d}" for i in range(40)]
    waits = {name: {n for n in names[:i] if draw.random() < 0.1} for i, name in enumerate(names)}
    launcher = FakeLauncher(workers=3, seed=seed)
    progress = run(waits, launcher)
    assert (progress.done, progress.failed) == (40, {})
    assert sorted(launcher.began) == names
    for name, before in waits.items():
        assert all(launcher.events.index(("ended", b)) < launcher.events.index(("began", name)) for b in before)


@pytest.mark.parametrize("seed", range(20))
def test_a_failure_takes_along_what_stands_on_it_and_nothing_else(seed):
    draw = random.Random(seed)
    names = [f"j{i:02d}" for i in range(40)]
    waits = {name: {n for n in names[:i] if draw.random() < 0.08} for i, name in enumerate(names)}
    broken = {"j03": "disk full", "j11": "out of memory"}
    doomed = set(broken)
    for name in names:
        doomed |= {name} if waits[name] & doomed else set()
    launcher = FakeLauncher(workers=2, fails=broken, seed=seed)
    progress = run(waits, launcher)
    assert set(progress.failed) == doomed
    assert progress.done == 40 - len(doomed)
    assert set(launcher.began) == (set(names) - doomed) | {n for n in broken if not waits[n] & (doomed - {n})}
    assert set(progress.failed.values()) <= set(broken.values())


def test_a_follower_carries_the_reason_of_the_first_failure():
    progress = run({"a": set(), "b": {"a"}, "c": {"b"}}, FakeLauncher(fails={"a": "disk full"}))
    assert progress.failed == {"a": "disk full", "b": "disk full", "c": "disk full"}


def test_damaged_stages_are_named():
    launcher = FakeLauncher(fails={"b": "truncated"}, damaged="a")
    progress = run({"a": set(), "b": {"a"}}, launcher)
    assert progress.damaged == {"a"}


def test_the_listener_sees_every_change():
    seen = []
    progress = run(
        {"a": set(), "b": {"a"}}, FakeLauncher(), lambda p: seen.append((p.done, list(p.running.values()), p.total))
    )
    assert seen == [(0, ["a"], 2), (1, ["b"], 2), (2, [], 2)]
    assert progress.running == {}


def test_no_jobs_end_at_once():
    assert run({}, FakeLauncher()) == Progress(0)


def test_chains_longer_than_the_recursion_limit():
    waits = {f"j{i}": {f"j{i - 1}"} if i else set() for i in range(3000)}
    assert run(waits, FakeLauncher()).done == 3000
