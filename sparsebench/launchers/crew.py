"""Crew: processes of this machine that do one job together, one of them a device."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from math import inf
from multiprocessing import forkserver, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from pathlib import Path
from tempfile import TemporaryDirectory

from sparsebench.grid.hardware import Hardware, gpus_of
from sparsebench.grid.jobs import Context, Job
from sparsebench.launchers import Outcome
from sparsebench.launchers.attempt import attempt, describe, prepare

READY = "ready"
"""What a process says first."""


class Crew:
    """Processes that are handed the same job and report each for itself."""

    def __init__(self, slot: int, context: Context, gpus: list[str]):
        self.slot, self._context = slot, context
        self.job: str | None = None
        self.deadline = inf
        """When the job has taken too long; starting the processes does not count."""
        self.broken = False
        """Whether a process died, or may wait for another for ever: none of them can be used again."""
        self._heard: dict[Connection, Outcome] = {}
        self._ready: set[Connection] = set()
        self._folder = TemporaryDirectory(prefix="sparsebench-") if context.hardware.world > 1 else None
        meeting = Path(self._folder.name) / "meet" if self._folder else None
        self._members: dict[Connection, multiprocessing.Process] = {}
        for rank in range(context.hardware.world):
            self._hire(rank, meeting, gpus_of(slot, context.hardware, gpus))

    @property
    def waiting(self) -> list[Connection]:
        """Pipes of the processes that have not reported yet."""
        return [pipe for pipe in self._members if pipe not in self._heard]

    def begin(self, job_id: str, job: Job) -> None:
        self.job, self._heard = job_id, {}
        self._start_clock()
        for pipe in self._members:
            # One that died while it had nothing to do is noticed by ``hear``.
            with suppress(BrokenPipeError, ConnectionResetError):
                pipe.send((job_id, job))

    def hear(self, ready: Collection[Connection]) -> Outcome | None:
        """How the job ended, if it has: the first process' word if all agree, else the first failure."""
        for pipe in self.waiting:
            if pipe not in ready:
                continue
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                self.broken = True
                return Outcome(self.job, f"the worker process died ({self._how(pipe)}); out of memory or killed")
            if message == READY:
                self._ready.add(pipe)
                self._start_clock()
            elif isinstance(message, str):
                self.broken = True
                return Outcome(self.job, f"the worker process could not start: {message}")
            else:
                self._heard[pipe] = message
        failures = [outcome for outcome in self._heard.values() if outcome.error]
        if failures and len(self._members) > 1:
            # The others may be in the middle of a sum over all ranks, which this one will never join.
            self.broken = True
            return next((outcome for outcome in failures if outcome.damaged), failures[0])
        return None if self.waiting else self._heard[next(iter(self._members))]

    def dismiss(self, kill: bool) -> None:
        """Let the processes end, or end them."""
        for pipe, process in self._members.items():
            pipe.close()
            if kill:
                process.terminate()

    def join(self, limit: float) -> None:
        """Wait until the processes have ended; those that have not by ``limit`` (monotonic) are killed."""
        for process in self._members.values():
            process.join(timeout=max(0.0, limit - time.monotonic()))
            if process.is_alive():
                process.kill()
        self._clear_up()

    def kill(self) -> None:
        for pipe, process in self._members.items():
            process.kill()
            pipe.close()
        for process in self._members.values():
            process.join(timeout=5)
        self._clear_up()

    def _clear_up(self) -> None:
        if self._folder:
            self._folder.cleanup()

    def _start_clock(self) -> None:
        all_there = len(self._ready) == len(self._members)
        self.deadline = time.monotonic() + (self._context.time_limit or inf) if all_there else inf

    def _how(self, pipe: Connection) -> str:
        process = self._members[pipe]
        process.join(timeout=5)
        return f"exit code {process.exitcode}"

    def _hire(self, rank: int, meeting: Path | None, gpus: list[str]) -> None:
        threads = str(self._context.hardware.threads)
        settings = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        if gpus:
            settings["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        with _environment(settings):
            start, careful = _way_to_start(self._context.hardware)
            mine, theirs = start.Pipe()
            work = (theirs, self._context, rank, meeting, dict(os.environ))
            process = start.Process(target=_serve, args=work, daemon=True)
            with careful:
                process.start()
        theirs.close()
        self._members[mine] = process


def _way_to_start(hardware: Hardware) -> tuple[BaseContext, AbstractContextManager]:
    """How to start a process, and what to do it within.

    On Linux workers are forked from one process that has imported what they need and does nothing else: seconds for
    the first, none for those after it. A GPU wants processes that never were another's copy.
    """
    if sys.platform != "linux" or hardware.accelerator != "cpu":
        return multiprocessing.get_context("spawn"), _without_ctrl_c()
    start = multiprocessing.get_context("forkserver")
    start.set_forkserver_preload(["sparsebench.launchers.warm"])
    with _without_ctrl_c(), _environment({"SPARSEBENCH_PARENT": str(os.getpid())}):
        forkserver.ensure_running()
    # What is forked is deaf already, and waiting for the imports shall not make this process deaf.
    return start, nullcontext()


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """For processes started within: numerical libraries read it when they are imported."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes started within never see Ctrl-C: it is the parent's to handle, also while they start."""
    resource_tracker.ensure_running()  # starting it would lift the block
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _serve(pipe: Connection, context: Context, rank: int, meeting: Path | None, environment: dict[str, str]) -> None:
    """A process' life: receive a job, do it, report; until the pipe closes."""
    os.environ.clear()
    os.environ.update(environment)  # one that was forked has that of an earlier moment
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    # Such a process may not have children, and a loader of images on disk wants some; they leave with this one.
    multiprocessing.current_process()._config["daemon"] = False
    with suppress(BrokenPipeError, OSError):
        pipe.send(_begin(context, rank, meeting))
    while True:
        try:
            job_id, job = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send(attempt(job_id, job, context))
        except (BrokenPipeError, OSError):
            return


def _begin(context: Context, rank: int, meeting: Path | None) -> str:
    """Make everything ready, or say why that cannot be."""
    try:
        prepare(context)
        if meeting:
            from sparsebench.grid.group import join

            join(rank, context.hardware, f"file://{meeting}")
    except Exception as problem:
        return describe(problem)
    return READY


def _leave_with_parent() -> None:
    """A worker whose parent was killed must not hold its device and its locks for hours."""
    parent_process().join()
    os._exit(1)
