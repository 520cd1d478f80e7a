"""Jobs: what a launcher hands to a worker. Plain picklable values."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparsebench.grid.cell import Cell
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.plan import Plan, Stage


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


def perform(job: Job, context: Context) -> None:
    """Do a job in this process."""
    from sparsebench.grid.finish import finish_cell
    from sparsebench.grid.stages import run_stage
    from sparsebench.grid.store import Store

    store = Store(context.store)
    if isinstance(job, StageJob):
        run_stage(job.stage, store, context.hardware)
        return
    with store.lock(job.id):
        if job.id not in store.done_cells():
            finish_cell(job, store, context)


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
        waits[job_id] = {chain[-1]} & todo
        if reference != name and reference in unfinished:
            waits[job_id].add(f"cell:{reference}")
    return jobs, waits
