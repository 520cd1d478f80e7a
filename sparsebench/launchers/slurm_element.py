"""Element: what runs on a node, one of several workers that share a store."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from dataclasses import dataclass
from multiprocessing import active_children

from sparsebench.errors import SparsebenchError
from sparsebench.grid.drive import drive
from sparsebench.grid.jobs import Context, Job, StageJob
from sparsebench.grid.store import Store
from sparsebench.launchers import JobByJob, Outcome, Progress
from sparsebench.launchers.local import LocalLauncher


@dataclass(frozen=True)
class Element:
    """Drives all jobs that are not done, with a launcher of its own, beside the other elements.

    On one node that is always the launcher of worker processes, also for a single one: it can stop a job that takes
    too long, and a job that takes its process along (out of memory) costs that job and not the element.
    """

    jobs: dict[str, Job]
    waits: dict[str, set[str]]
    context: Context

    def __call__(self) -> Progress:
        """Work until nothing is left.

        Raises:
            SparsebenchError: this node cannot use the store.
        """
        store = Store(self.context.store)
        check_store(store)
        signal.signal(signal.SIGTERM, _leave)
        if self.context.hardware.nodes > 1:
            return self._in_team(store)
        jobs = {name: job for name, job in self.jobs.items() if not is_done(job, store)}
        if not jobs:
            return Progress(0)
        # Lightning would take this one task for a team of its own making.
        os.environ.pop("SLURM_NTASKS", None)
        deafen_children()
        return self._drive(LocalLauncher(self.context.hardware.per_device, self.context), store, jobs)

    def checkpoint(self):
        """For submitit: an element at the end of its time is put back into the queue; the store is its memory."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _in_team(self, store: Store) -> Progress:
        from submitit.helpers import TorchDistributedEnvironment

        from sparsebench.launchers.team import TeamLauncher, team

        # Its port is drawn from the element's id, so that elements on one node do not meet.
        rank = TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True).rank
        node, device = divmod(rank, self.context.hardware.devices)
        os.environ |= {"GROUP_RANK": str(node), "LOCAL_RANK": str(device)}
        os.environ.pop("SLURM_NTASKS", None)
        with team(self.context) as leading:
            return self._drive(TeamLauncher(1, self.context), store, self.jobs) if leading else Progress(0)

    def _drive(self, hands: JobByJob, store: Store, jobs: dict[str, Job]) -> Progress:
        try:
            waits = {name: self.waits[name] & jobs.keys() for name in jobs}
            progress = drive(jobs, waits, Noting(hands, store, self.context.run_id), Diary())
        except BaseException:
            for child in active_children():
                child.kill()
            raise
        hands.close()
        return progress


class Noting(JobByJob):
    """A launcher whose failures the other elements learn of, also those that the job itself could not note."""

    def __init__(self, hands: JobByJob, store: Store, run: str):
        self._hands, self._store, self._run = hands, store, run
        self._jobs: dict[str, Job] = {}

    @property
    def room(self) -> int:
        return self._hands.room

    def submit(self, job_id: str, job: Job) -> None:
        self._jobs[job_id] = job
        self._hands.submit(job_id, job)

    def finished(self, timeout: float) -> list[Outcome]:
        outcomes = self._hands.finished(timeout)
        for outcome in outcomes:
            job = self._jobs.pop(outcome.job_id)
            if outcome.error and not outcome.damaged:
                self._store.note_failure(self._run, job.id, outcome.error)
        return outcomes

    def close(self, kill: bool = False) -> None:
        self._hands.close(kill)


class Diary:
    """A line in the element's log whenever something changed."""

    def __init__(self):
        self._said = ""

    def __call__(self, progress: Progress) -> None:
        failed = f", {len(progress.failed)} failed" if progress.failed else ""
        now = " | ".join(progress.running.values()) or "waiting for what other elements are doing"
        line = f"{progress.done}/{progress.total} jobs{failed}  {now}"
        if line != self._said:
            self._said = line
            print(time.strftime("%H:%M:%S"), line, flush=True)


def is_done(job: Job, store: Store) -> bool:
    return store.has_stage(job.id) if isinstance(job, StageJob) else store.has_record(job.id)


def check_store(store: Store) -> None:
    """Write and lock a file.

    Raises:
        SparsebenchError: this node cannot.
    """
    lock = store.lock(f"probe-{socket.gethostname()}-{os.getpid()}")
    try:
        store.create()
        store.claim(lock)
        lock.release()
        os.unlink(lock.lock_file)
    except (OSError, NotImplementedError, SparsebenchError) as error:
        raise SparsebenchError(
            f"node {socket.gethostname()} cannot write and lock files in the store {store.folder} ({error}); "
            "it must lie on a file system that all nodes share, with flock"
        ) from None


def deafen_children() -> None:
    """Signals to all processes of the element are this one's to handle.

    A worker process that died of one before this process did would make its job look guilty. Blocked signals are
    inherited; a thread that does not block them receives them for this process.
    """
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR2})


def _leave(number: int, frame) -> None:
    """Cancelled or preempted: leave the job to others at once; submitit would let it pass."""
    raise SystemExit(128 + number)
