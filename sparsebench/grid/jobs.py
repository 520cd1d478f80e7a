"""Jobs: what a launcher hands to a worker. Plain picklable values."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparsebench.errors import SparsebenchError
from sparsebench.grid.cell import Cell
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.plan import Plan, Stage


class Busy(SparsebenchError):
    """Another process is at work on this job."""


class FailedBefore(SparsebenchError):
    """Another process of the same run tried this job and it failed."""


@dataclass(frozen=True)
class StageJob:
    """Compute and store one stage."""

    stage: Stage

    @property
    def id(self) -> str:
        return self.stage.id

    @property
    def label(self) -> str:
        return self.stage.label


@dataclass(frozen=True)
class CellJob:
    """Evaluate the last stage of a cell and write its record."""

    cell: Cell
    chain: tuple[str, ...]
    users: dict[str, int] = field(default_factory=dict)
    """How many cells of the board share each stage of the chain."""
    reference: str | None = None
    """The dense cell, None if this is it."""

    @property
    def id(self) -> str:
        return self.cell.id

    @property
    def label(self) -> str:
        return self.cell.label


Job = StageJob | CellJob


@dataclass(frozen=True)
class Context:
    """What all jobs of a run have in common."""

    store: str
    hardware: Hardware
    command: str
    method_files: tuple[str, ...] = ()
    time_limit: float | None = None
    """Seconds after which a job is stopped and reported; None = never."""
    run_id: str | None = None
    """The run of several processes that tell each other in the store what failed, so that each job is tried once."""


def perform(job: Job, context: Context) -> None:
    """Do a job in this process, and in every other of its ranks; nothing if it is done.

    Raises:
        Busy: another run on this store is doing it.
        FailedBefore: it failed in another process of this run.
    """
    from sparsebench.grid.example_scores import run_scoring
    from sparsebench.grid.finish import finish_cell
    from sparsebench.grid.stages import run_stage
    from sparsebench.grid.store import Store
    from sparsebench.launchers.attempt import describe
    from sparsebench.ranks import from_leader

    store = Store(context.store)
    lock = store.lock(job.id)
    if not from_leader(lambda: store.claim(lock)):
        raise Busy(f"{job.label}: another process is at work on it")
    try:
        if context.run_id and (error := from_leader(lambda: store.failure(context.run_id, job.id))):
            raise FailedBefore(error)
        if isinstance(job, StageJob):
            if not from_leader(lambda: store.has_stage(job.id)):
                (run_scoring if job.stage.scoring else run_stage)(job.stage, store, context.hardware)
        elif not from_leader(lambda: store.has_record(job.id)):
            finish_cell(job, store, context)
    except Exception as problem:
        # Before the lock is given up: the next process to hold it must know.
        if context.run_id and not hasattr(problem, "stage"):
            store.note_failure(context.run_id, job.id, describe(problem))
        raise
    finally:
        lock.release()


def dependencies(plan: Plan, stages: list[str], cells: list[str]) -> tuple[dict[str, Job], dict[str, set[str]]]:
    """The jobs for these stages and cells, and for each the jobs it has to wait for."""
    users: dict[str, int] = {}
    for chain in plan.chains.values():
        for stage in chain:
            users[stage] = users.get(stage, 0) + 1
    todo, unfinished = set(stages), set(cells)
    jobs: dict[str, Job] = {}
    waits: dict[str, set[str]] = {}
    for name in stages:
        jobs[name] = StageJob(plan.stages[name])
        waits[name] = {p for p in plan.stages[name].parents if p in todo}
    for name in cells:
        chain, reference = plan.chains[name], plan.references[name]
        job_id = f"cell:{name}"
        jobs[job_id] = CellJob(
            plan.cells[name], chain, {s: users[s] for s in chain}, None if reference == name else reference
        )
        waits[job_id] = {chain[-1], plan.scores_of(name)} & todo
        if reference != name and reference in unfinished:
            waits[job_id].add(f"cell:{reference}")
    return jobs, waits
