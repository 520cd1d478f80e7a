"""Drive: hands ready jobs to a launcher until all are done or cannot be."""

from __future__ import annotations

import time

from sparsebench.grid.jobs import Job
from sparsebench.launchers import JobByJob, Listener, Progress

AGAIN = 2.0
"""Seconds after which a job that another run is doing is asked for again."""


def drive(
    jobs: dict[str, Job],
    waits: dict[str, set[str]],
    launcher: JobByJob,
    listener: Listener = lambda progress: None,
) -> Progress:
    """Run all jobs, each after those it waits for; the ones with the longest way still to go first.

    Jobs that another run on the same store is doing come last, and are asked for again until they are done.
    """
    progress = Progress(len(jobs))
    waits = {name: set(before) for name, before in waits.items()}
    followers: dict[str, set[str]] = {name: set() for name in jobs}
    for name, before in waits.items():
        for other in before:
            followers[other].add(name)
    urgency = _longest_way(followers)
    ready = [name for name, before in waits.items() if not before]
    while ready or progress.running or progress.elsewhere:
        ready.sort(key=lambda name: (urgency[name], name.startswith("cell:")))
        while launcher.room and (name := _next(ready, progress.elsewhere)):
            progress.running[name] = jobs[name].label
            launcher.submit(name, jobs[name])
        listener(progress)
        if not progress.running:
            time.sleep(max(0.0, min(progress.elsewhere.values()) - time.monotonic()))
            continue
        for outcome in launcher.finished(timeout=0.5):
            del progress.running[outcome.job_id]
            if outcome.busy:
                progress.elsewhere[outcome.job_id] = time.monotonic() + AGAIN
                continue
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


def _next(ready: list[str], elsewhere: dict[str, float]) -> str | None:
    """The most urgent job, or one to ask for again."""
    if ready:
        return ready.pop()
    due = [name for name, when in elsewhere.items() if when <= time.monotonic()]
    if due:
        del elsewhere[due[0]]
    return due[0] if due else None


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
