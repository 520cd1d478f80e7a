"""Local: worker processes on this machine that live as long as the grid."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait

from sparsebench.grid.jobs import Context, Job, perform
from sparsebench.launchers import Outcome


class LocalLauncher:
    """``workers`` processes, one job each at a time; a worker that dies is replaced and its job reported."""

    def __init__(self, workers: int, context: Context):
        self._context = context
        self._spawn = multiprocessing.get_context("spawn")
        self._workers = [self._start() for _ in range(workers)]

    @property
    def room(self) -> int:
        return sum(worker.job is None for worker in self._workers)

    def submit(self, job_id: str, job: Job) -> None:
        worker = next(w for w in self._workers if w.job is None)
        worker.job = job_id
        # A worker that died while it had nothing to do is noticed, and replaced, by ``finished``.
        with suppress(BrokenPipeError, ConnectionResetError):
            worker.pipe.send((job_id, job))

    def finished(self, timeout: float) -> list[Outcome]:
        ready = wait([w.pipe for w in self._workers if w.job], timeout)
        return [self._receive(w) for w in self._workers if w.pipe in ready]

    def close(self, kill: bool = False) -> None:
        for worker in self._workers:
            worker.pipe.close()
            if kill:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(timeout=30)
            if worker.process.is_alive():
                worker.process.kill()

    def _receive(self, worker: _Worker) -> Outcome:
        job_id, worker.job = worker.job, None
        try:
            return worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(timeout=5)
            code = worker.process.exitcode
            self._workers[self._workers.index(worker)] = self._start()
            return Outcome(job_id, f"the worker process died (exit code {code}); out of memory or killed")

    def _start(self) -> _Worker:
        mine, theirs = self._spawn.Pipe()
        threads = str(self._context.hardware.threads)
        # Read by the numerical libraries when the worker imports them.
        before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        os.environ.update(dict.fromkeys(before, threads))
        process = self._spawn.Process(target=_serve, args=(theirs, self._context), daemon=True)
        with _without_ctrl_c():
            process.start()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
        theirs.close()
        return _Worker(process, mine)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes started within never see Ctrl-C: it is the parent's to handle, also while they start."""
    resource_tracker.ensure_running()  # starting it would lift the block
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class _Worker:
    def __init__(self, process: multiprocessing.Process, pipe: Connection):
        self.process, self.pipe = process, pipe
        self.job: str | None = None


def _serve(pipe: Connection, context: Context) -> None:
    """A worker's life: receive a job, do it, report; until the pipe closes."""
    prepare(context)
    while True:
        try:
            job_id, job = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send(attempt(job_id, job, context))
        except (BrokenPipeError, OSError):
            return


def attempt(job_id: str, job: Job, context: Context) -> Outcome:
    """Do a job; an exception becomes the outcome's error."""
    try:
        perform(job, context)
        return Outcome(job_id)
    except Exception as problem:
        if os.environ.get("SPARSEBENCH_TRACEBACK"):
            traceback.print_exc()
        return Outcome(job_id, f"{type(problem).__name__}: {problem}", getattr(problem, "stage", None))


def prepare(context: Context) -> None:
    """Threads and the user's method files, in the process that does the work."""
    import torch

    from sparsebench.methods import register

    torch.set_num_threads(context.hardware.threads)
    for file in context.method_files:
        register(file)
