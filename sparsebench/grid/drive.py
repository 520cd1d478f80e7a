"""Drive: hands ready jobs to a launcher until all are done or cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sparsebench.grid.jobs import Job
from sparsebench.launchers import Launcher


@dataclass
class Progress:
    """What happened so far; told to a listener after every change."""

    total: int
    done: int = 0
    running: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Job -> error; jobs that waited for a failed one carry its error."""
    damaged: set[str] = field(default_factory=set)
    """Stored stages that could not be read."""


def drive(
    jobs: dict[str, Job],
    waits: dict[str, set[str]],
    launcher: Launcher,
    listener: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Run all jobs, each after those it waits for; the ones with the longest way still to go first."""
    progress = Progress(len(jobs))
    waits = {name: set(before) for name, before in waits.items()}
    followers: dict[str, set[str]] = {name: set() for name in jobs}
    for name, before in waits.items():
        for other in before:
            followers[other].add(name)
    urgency = _longest_way(followers)
    ready = [name for name, before in waits.items() if not before]
    while ready or progress.running:
        ready.sort(key=lambda name: (urgency[name], name.startswith("cell:")))
        while ready and launcher.room:
            name = ready.pop()
            progress.running[name] = jobs[name].label
            launcher.submit(name, jobs[name])
        listener(progress)
        for outcome in launcher.finished(timeout=0.5):
            del progress.running[outcome.job_id]
            if outcome.damaged:
                progress.damaged.add(outcome.damaged)
            if outcome.error:
                _fail(outcome.job_id, outcome.error, followers, progress.failed)
                continue
            progress.done += 1
            for follower in followers[outcome.job_id]:
                waits[follower].discard(outcome.job_id)
                if not waits[follower] and follower not in progress.failed:
                    ready.append(follower)
    listener(progress)
    return progress


def _longest_way(followers: dict[str, set[str]]) -> dict[str, int]:
    """Number of jobs on the longest chain that starts with each job."""
    length: dict[str, int] = {}
    for start in followers:
        stack = [start]
        while stack:
            name = stack[-1]
            open_ones = [f for f in followers[name] if f not in length]
            if open_ones:
                stack.extend(open_ones)
            else:
                length[stack.pop()] = 1 + max((length[f] for f in followers[name]), default=0)
    return length


def _fail(name: str, error: str, followers: dict[str, set[str]], failed: dict[str, str]) -> None:
    """A failed job takes along those that wait for it, and no others."""
    todo = [name]
    while todo:
        current = todo.pop()
        if current not in failed:
            failed[current] = error
            todo.extend(followers[current])
