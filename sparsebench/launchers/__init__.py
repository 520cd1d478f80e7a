"""Launchers: where jobs run. A launcher is one file with ``submit``, ``finished`` and ``close``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sparsebench.grid.jobs import Job


@dataclass(frozen=True)
class Outcome:
    """How a job ended; ``error`` is None if it succeeded."""

    job_id: str
    error: str | None = None
    damaged: str | None = None
    """The stored stage that could not be read, if that was the reason."""


class Launcher(Protocol):
    @property
    def room(self) -> int:
        """How many more jobs can run now."""
        ...

    def submit(self, job_id: str, job: Job) -> None: ...

    def finished(self, timeout: float) -> list[Outcome]:
        """Jobs that ended since the last call, after waiting at most so many seconds for one."""
        ...

    def close(self, kill: bool = False) -> None: ...
