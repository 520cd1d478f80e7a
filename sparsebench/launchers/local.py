"""Local: crews of worker processes on this machine that live as long as the grid."""

from __future__ import annotations

import time
from multiprocessing.connection import wait

from sparsebench.errors import UsageError
from sparsebench.grid.hardware import visible_gpus
from sparsebench.grid.jobs import Context, Job
from sparsebench.launchers import JobByJob, Outcome
from sparsebench.launchers.crew import Crew


class LocalLauncher(JobByJob):
    """``workers`` crews, one job each at a time; one that dies or hangs is replaced and its job reported.

    A crew is one process, or one a device where several train a cell together.
    """

    def __init__(self, workers: int, context: Context):
        if context.hardware.nodes > 1:
            raise UsageError(
                f"--nodes {context.hardware.nodes}: --launcher local has this machine only; use torchrun or slurm"
            )
        self._context, self._gpus = context, visible_gpus()
        self._crews = [self._start(slot) for slot in range(workers)]

    @property
    def room(self) -> int:
        return sum(crew.job is None for crew in self._crews)

    def submit(self, job_id: str, job: Job) -> None:
        next(crew for crew in self._crews if crew.job is None).begin(job_id, job)

    def finished(self, timeout: float) -> list[Outcome]:
        busy = [crew for crew in self._crews if crew.job]
        now = time.monotonic()
        patience = min([timeout, *(crew.deadline - now for crew in busy)])
        ready = wait([pipe for crew in busy for pipe in crew.waiting], max(0.0, patience))
        ended = [(crew, crew.hear(ready) or self._overdue(crew)) for crew in busy]
        return [self._end(crew, outcome) for crew, outcome in ended if outcome]

    def close(self, kill: bool = False) -> None:
        for crew in self._crews:
            crew.dismiss(kill)
        limit = time.monotonic() + (5 if kill else 30)
        for crew in self._crews:
            crew.join(limit)

    def _overdue(self, crew: Crew) -> Outcome | None:
        if time.monotonic() < crew.deadline:
            return None
        crew.broken = True
        limit = f"--time-limit {self._context.time_limit:g} s"
        return Outcome(crew.job, f"took longer than {limit} and was stopped; raise the limit, or see why it hangs")

    def _end(self, crew: Crew, outcome: Outcome) -> Outcome:
        """Make room for the next job."""
        crew.job = None
        if crew.broken:
            crew.kill()
            self._crews[self._crews.index(crew)] = self._start(crew.slot)
        return outcome

    def _start(self, slot: int) -> Crew:
        return Crew(slot, self._context, self._gpus)
