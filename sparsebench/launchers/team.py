"""Team: processes that torchrun (or srun) started, on one node or several, work on one job after the other.

    torchrun --nnodes 2 --nproc-per-node 4 ... -m sparsebench run imagenet --launcher torchrun --devices 4 --nodes 2

The first rank hands out the jobs; the others follow it.
"""

from __future__ import annotations

import os

from sparsebench.errors import SparsebenchError, UsageError
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context, Job
from sparsebench.launchers import JobByJob, Outcome
from sparsebench.launchers.attempt import attempt, prepare

SYMMETRY_SECONDS = 60.0
"""How long a rank that failed waits for the others to fail as well."""


class TeamLauncher(JobByJob):
    """The first rank's; the other ranks call ``follow``."""

    def __init__(self, workers: int, context: Context):
        self._context, self._waiting, self._count = context, [], 0
        enter(context)

    @property
    def room(self) -> int:
        return 1 - len(self._waiting)

    def submit(self, job_id: str, job: Job) -> None:
        self._waiting.append((job_id, job))

    def finished(self, timeout: float) -> list[Outcome]:
        from sparsebench.ranks import from_leader

        tasks, self._waiting = self._waiting, []
        outcomes = []
        for name, job in tasks:
            self._count += 1
            from_leader(lambda task=(name, job): task)
            outcomes.append(together(name, job, self._context, self._count))
        return outcomes

    def close(self, kill: bool = False) -> None:
        from sparsebench.ranks import from_leader

        if not kill:
            from_leader(lambda: None)


def follow(context: Context) -> None:
    """Do what the first rank does, until it has nothing more."""
    from sparsebench.ranks import from_leader

    enter(context)
    number = 0
    while task := from_leader(lambda: None):
        number += 1
        together(*task, context, number)


def leads_the_team() -> bool:
    """Whether this process hands out the jobs."""
    return int(os.environ.get("RANK", 0)) == 0


def check_team(hardware: Hardware) -> None:
    """Refuse a team that is not what was asked for.

    Raises:
        UsageError: torchrun did not start this process, or started another number of them.
    """
    world = os.environ.get("WORLD_SIZE")
    if world is None or "RANK" not in os.environ:
        raise UsageError(
            "--launcher torchrun: this process was not started by torchrun; "
            "torchrun --nproc-per-node N -m sparsebench run BOARD --launcher torchrun --devices N"
        )
    if int(world) != hardware.world:
        raise UsageError(
            f"--devices {hardware.devices} on --nodes {hardware.nodes} makes {hardware.world} processes, "
            f"and torchrun started {world}: let them agree"
        )


def enter(context: Context) -> None:
    from sparsebench.grid.group import join_as_told

    prepare(context)
    join_as_told(context.hardware)


def together(job_id: str, job: Job, context: Context, number: int) -> Outcome:
    """Do this rank's part of a job.

    Raises:
        SparsebenchError: it failed here and not on all ranks; the others may wait for this one for ever.
    """
    from sparsebench.grid.group import reached_by_all

    outcome = attempt(job_id, job, context)
    if outcome.error and not reached_by_all(f"failed/{number}", SYMMETRY_SECONDS):
        raise SparsebenchError(f"{job.label}: {outcome.error} (on this rank, not on all)")
    return outcome
