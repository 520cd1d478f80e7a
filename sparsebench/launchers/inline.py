"""Inline: jobs run one after the other in this process; for debugging and for tests."""

from __future__ import annotations

from sparsebench.errors import UsageError
from sparsebench.grid.jobs import Context, Job
from sparsebench.launchers import JobByJob, Outcome
from sparsebench.launchers.attempt import attempt, prepare


class InlineLauncher(JobByJob):
    def __init__(self, workers: int, context: Context):
        if context.hardware.world > 1:
            raise UsageError(
                f"--launcher inline is one process, and a cell shall be trained by {context.hardware.world}: "
                "use --launcher local, or torchrun with --launcher torchrun"
            )
        if context.time_limit:
            raise UsageError("--time-limit: --launcher inline cannot stop itself; use --launcher local")
        self._context, self._waiting = context, []
        prepare(context)

    @property
    def room(self) -> int:
        return 1 - len(self._waiting)

    def submit(self, job_id: str, job: Job) -> None:
        self._waiting.append((job_id, job))

    def finished(self, timeout: float) -> list[Outcome]:
        done, self._waiting = [attempt(name, job, self._context) for name, job in self._waiting], []
        return done

    def close(self, kill: bool = False) -> None:
        self._waiting = []
