"""Inline: jobs run one after the other in this process; for debugging and for tests."""

from __future__ import annotations

from sparsebench.errors import UsageError
from sparsebench.grid.jobs import Context, Job
from sparsebench.launchers import OneByOne, Outcome
from sparsebench.launchers.attempt import attempt, prepare


class InlineLauncher(OneByOne):
    def __init__(self, workers: int, context: Context):
        if context.hardware.world > 1:
            raise UsageError(
                f"--launcher inline is one process, and a cell shall be trained by {context.hardware.world}: "
                "use --launcher local, or torchrun with --launcher torchrun"
            )
        if context.time_limit:
            raise UsageError("--time-limit: --launcher inline cannot stop itself; use --launcher local")
        super().__init__()
        self._context = context
        prepare(context)

    def do(self, job_id: str, job: Job) -> Outcome:
        return attempt(job_id, job, self._context)
