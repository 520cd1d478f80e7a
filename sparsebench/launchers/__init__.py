"""Launchers: where jobs run. A launcher is one class in one file; what it needs of others lies beside it.

``run(jobs, waits, listener)`` carries out jobs, each after those it waits for, and tells the listener how it goes.
``close`` ends what was started for it. Launchers that take one job after the other only say how
(``room``, ``submit``, ``finished``) and inherit the rest from ``JobByJob``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from sparsebench.errors import UsageError, unknown

if TYPE_CHECKING:
    from sparsebench.grid.jobs import Context, Job


@dataclass(frozen=True)
class Outcome:
    """How a job ended; ``error`` is None if it succeeded."""

    job_id: str
    error: str | None = None
    damaged: str | None = None
    """The stored stage that could not be read, if that was the reason."""
    busy: bool = False
    """Another run is doing this job; ask again later."""


@dataclass
class Progress:
    """What happened so far; told to a listener after every change."""

    total: int
    done: int = 0
    running: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, float] = field(default_factory=dict)
    """Jobs another run is doing -> when to ask for them again."""
    failed: dict[str, str] = field(default_factory=dict)
    """Job -> error; jobs that waited for a failed one carry its error."""
    damaged: set[str] = field(default_factory=set)
    """Stored stages that could not be read."""


Listener = Callable[[Progress], None]


class Launcher(Protocol):
    def run(self, jobs: dict[str, Job], waits: dict[str, set[str]], listener: Listener) -> Progress:
        """Carry out all jobs that can be."""
        ...

    def close(self, kill: bool = False) -> None: ...


class JobByJob(ABC):
    """A launcher that is handed one ready job after the other."""

    @property
    @abstractmethod
    def room(self) -> int:
        """How many more jobs can run now."""

    @abstractmethod
    def submit(self, job_id: str, job: Job) -> None: ...

    @abstractmethod
    def finished(self, timeout: float) -> list[Outcome]:
        """Jobs that ended since the last call, after waiting at most so many seconds for one."""

    def run(self, jobs: dict[str, Job], waits: dict[str, set[str]], listener: Listener) -> Progress:
        from sparsebench.grid.drive import drive

        return drive(jobs, waits, self, listener)

    @abstractmethod
    def close(self, kill: bool = False) -> None:
        """End what was started; ``kill``: at once."""


class OneByOne(JobByJob):
    """A launcher that does the job itself, when it is asked what has finished."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, Job]] = []

    @abstractmethod
    def do(self, job_id: str, job: Job) -> Outcome: ...

    @property
    def room(self) -> int:
        return 1 - len(self._waiting)

    def submit(self, job_id: str, job: Job) -> None:
        self._waiting.append((job_id, job))

    def finished(self, timeout: float) -> list[Outcome]:
        tasks, self._waiting = self._waiting, []
        return [self.do(*task) for task in tasks]

    def close(self, kill: bool = False) -> None:
        """Nothing was started."""


LAUNCHERS = {
    "local": ("sparsebench.launchers.local:LocalLauncher", "worker processes on this machine"),
    "inline": ("sparsebench.launchers.inline:InlineLauncher", "this process, one job after the other"),
    "torchrun": ("sparsebench.launchers.team:TeamLauncher", "the processes that torchrun started, together"),
    "ray": ("sparsebench.launchers.ray:RayLauncher", "a Ray cluster"),
    "slurm": ("sparsebench.launchers.slurm:SlurmLauncher", "a Slurm cluster"),
}
"""Name -> where it is, what it stands for."""


def check_launcher(name: str) -> None:
    """Refuse a launcher before any work.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in LAUNCHERS:
        raise unknown("launcher", name, LAUNCHERS, "sparsebench run --help")


def make_launcher(name: str, workers: int, context: Context, **options: Any) -> Launcher:
    """Start a launcher.

    Raises:
        UsageError: a package it needs is not installed, or it has no such option.
    """
    module, _, kind = LAUNCHERS[name][0].partition(":")
    try:
        made = getattr(import_module(module), kind)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--launcher {name} needs the package {error.name}: pip install 'sparsebench[{name}]'"
        ) from None
    return made(workers, context, **options)
