"""Team: processes that torchrun (or srun) started, on one node or several, work on one job after the other.

    torchrun --nnodes 2 --nproc-per-node 4 ... -m sparsebench run BOARD --launcher torchrun --devices 4 --nodes 2

The first rank hands out the jobs; the others follow it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from sparsebench.errors import SparsebenchError, UsageError
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context, Job
from sparsebench.launchers import OneByOne, Outcome
from sparsebench.launchers.attempt import attempt, prepare

SYMMETRY_SECONDS = 60.0
"""How long a rank that failed waits for the others to fail as well."""


class TeamLauncher(OneByOne):
    """The first rank's, within ``team``."""

    def __init__(self, workers: int, context: Context):
        if context.time_limit:
            raise UsageError(
                "--time-limit: processes that were started together cannot stop one another; give torchrun or the "
                "queue the limit, or use --launcher local"
            )
        super().__init__()
        self._context = context

    def do(self, job_id: str, job: Job) -> Outcome:
        from sparsebench.ranks import from_leader

        return together(*from_leader(lambda: (uuid4().hex, job_id, job)), self._context)


@contextmanager
def team(context: Context) -> Iterator[bool]:
    """Be one of the team; True in the rank that hands out jobs within, False in the others once it is done."""
    from sparsebench.grid.group import join_as_told
    from sparsebench.ranks import from_leader, leads

    prepare(context)
    join_as_told(context.hardware)
    if leads():
        yield True
        from_leader(lambda: None)
        return
    while task := from_leader(lambda: None):
        together(*task, context)
    yield False


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
    if int(world) != hardware.world or int(os.environ.get("LOCAL_WORLD_SIZE", hardware.devices)) != hardware.devices:
        raise UsageError(
            f"--devices {hardware.devices} on --nodes {hardware.nodes} makes {hardware.world} processes, "
            f"and torchrun started {world}, {os.environ.get('LOCAL_WORLD_SIZE')} of them on this node: let them agree"
        )


def together(name: str, job_id: str, job: Job, context: Context) -> Outcome:
    """Do this rank's part of a job; ``name`` is of this attempt, on all ranks.

    Raises:
        SparsebenchError: it failed here and not on all ranks; the others may wait for this one for ever.
    """
    from sparsebench.grid.group import reached_by_all

    outcome = attempt(job_id, job, context)
    if outcome.error and not reached_by_all(f"failed/{name}", SYMMETRY_SECONDS):
        raise SparsebenchError(f"{job.label}: {outcome.error} (on this rank, not on all)")
    return outcome
