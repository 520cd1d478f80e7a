"""Plan: the cells of a board as a DAG of stages, in which equal stages are one.

A stage is a run of phases that ends with a training (or with the end of the method). Its name is the hash of
everything that led to it, so cells that begin alike share their beginning: all methods of one task and seed
share one dense training, an iterative method's levels share one trajectory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sparsebench.grid.cell import Cell
from sparsebench.phases import Phase, Rewind, Train, describe
from sparsebench.protocol import name_of
from sparsebench.tasks import Task


@dataclass(frozen=True)
class Stage:
    """Phases carried out in one go, and the stages whose results they start from."""

    id: str
    task: Task
    seed: int
    phases: tuple[Phase, ...]
    parent: str | None
    """The stage before; None = from initialisation."""
    rewind_point: str | None
    """The stage that recorded the state a Rewind goes back to; None = initialisation or no rewinding."""
    trainings_before: int
    label: str = ""

    @property
    def parents(self) -> tuple[str, ...]:
        return tuple(p for p in (self.parent, self.rewind_point) if p)

    @property
    def keeps_optimizer(self) -> bool:
        """A rewind point must bring the optimiser back too."""
        return any(isinstance(p, Train) and p.until < 1 for p in self.phases)


@dataclass
class Plan:
    """Stages by name in an order in which parents come first, and each cell's chain of them."""

    stages: dict[str, Stage] = field(default_factory=dict)
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    cells: dict[str, Cell] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    """Cell -> the dense cell it is compared with."""

    @property
    def trainings(self) -> int:
        return sum(isinstance(p, Train) for stage in self.stages.values() for p in stage.phases)

    @property
    def trainings_unshared(self) -> int:
        """Trainings if every cell ran on its own."""
        return sum(
            isinstance(p, Train) for chain in self.chains.values() for stage in chain for p in self.stages[stage].phases
        )

    def needed(self, done_stages: Iterable[str], done_cells: Iterable[str]) -> list[str]:
        """Stages still to run, parents first: those that an unfinished cell stands on and that are not stored.

        A cell's record tells of its whole chain, so a stage missing in the middle is computed again.
        """
        done = set(done_stages)
        missing = set()
        for cell in self.cells.keys() - set(done_cells):
            todo = list(self.chains[cell])
            while todo:
                stage = todo.pop()
                if stage not in done and stage not in missing:
                    missing.add(stage)
                    todo.extend(self.stages[stage].parents)
        return [stage for stage in self.stages if stage in missing]


def plan(cells: Iterable[Cell]) -> Plan:
    """Plan cells; their dense references must be among them."""
    result = Plan()
    dense = {}
    for cell in cells:
        result.cells[cell.id] = cell
        result.chains[cell.id] = tuple(_chain(cell, result.stages))
        if cell.method.is_dense:
            dense[cell.task.name, cell.seed] = cell.id
    for cell in result.cells.values():
        result.references[cell.id] = dense[cell.task.name, cell.seed]
    return result


def _chain(cell: Cell, stages: dict[str, Stage]) -> Iterator[str]:
    parent, trainings, history = None, 0, []
    for phases in _runs(cell.method.phases(cell.sparsity)):
        point = None
        for phase in phases:
            if isinstance(phase, Rewind) and phase.to > 0:
                point = _add(stages, cell, (Train(until=phase.to),), None, None, 0, [], f"rewind point {phase.to:g}")
        history.append([describe(phase) for phase in phases])
        parent = _add(stages, cell, phases, parent, point, trainings, history, cell.label)
        trainings += sum(isinstance(p, Train) for p in phases)
        yield parent


def _runs(phases: list[Phase]) -> Iterator[tuple[Phase, ...]]:
    """Cut after each training."""
    run: list[Phase] = []
    for phase in phases:
        run.append(phase)
        if isinstance(phase, Train):
            yield tuple(run)
            run = []
    if run:
        yield tuple(run)


def _add(stages, cell, phases, parent, point, trainings, history, label) -> str:
    said = history or [[describe(phase) for phase in phases]]
    stage = name_of({"task": cell.task.settings(), "seed": cell.seed, "history": said})
    stages.setdefault(stage, Stage(stage, cell.task, cell.seed, phases, parent, point, trainings, label))
    return stage
