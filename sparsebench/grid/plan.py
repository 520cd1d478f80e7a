"""Plan: the cells of a board as a DAG of stages, in which equal stages are one.

A stage is a run of phases that ends with a training (or with the end of the method). Its name is the hash of
everything that led to it, so cells that begin alike share their beginning: all methods of one task and seed
share one dense training, an iterative method's levels share one trajectory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from sparsebench.diet import Diet
from sparsebench.errors import UsageError
from sparsebench.grid.cell import Cell
from sparsebench.phases import Phase, Rewind, Train, describe
from sparsebench.protocol import canonical, list_text, name_of_text, object_text
from sparsebench.recipe import epochs_of
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
    teacher: str | None = None
    """The dense stage that trainings of this one distil from; None = they learn from labels alone."""
    scores: str | None = None
    """The stage whose scores chose the training images; None = all images, or a draw."""
    scoring: Diet | None = None
    """What this stage scores training images for, in place of phases."""
    networks: tuple[str, ...] = ()
    """The stages whose networks it asks; none = networks at initialisation, or the images alone."""

    @property
    def parents(self) -> tuple[str, ...]:
        before = (self.parent, self.rewind_point, self.teacher, self.scores, *self.networks)
        return tuple(dict.fromkeys(p for p in before if p))

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
        scores = filter(None, map(self.scores_of, self.cells))
        return sum(len(self.stages[stage].networks) for stage in scores) + sum(
            isinstance(p, Train) for chain in self.chains.values() for stage in chain for p in self.stages[stage].phases
        )

    def scores_of(self, cell: str) -> str | None:
        """The stage with the scores that chose a cell's training images."""
        return self.stages[self.chains[cell][-1]].scores

    def needed(self, done_stages: Iterable[str], done_cells: Iterable[str]) -> list[str]:
        """Stages still to run, parents first: those that an unfinished cell stands on and that are not stored.

        A cell's record tells of its whole chain, so a stage missing in the middle is computed again.
        """
        done = set(done_stages)
        missing = set()
        for cell in self.cells.keys() - set(done_cells):
            todo = [*self.chains[cell], *filter(None, [self.scores_of(cell)])]
            while todo:
                stage = todo.pop()
                if stage not in done and stage not in missing:
                    missing.add(stage)
                    todo.extend(self.stages[stage].parents)
        return [stage for stage in self.stages if stage in missing]


@dataclass(frozen=True)
class Piece:
    """What becomes a stage of each task and seed: phases that end with a training, or with the end of the method."""

    phases: tuple[Phase, ...]
    history: str
    """All phases up to here, piece by piece, as canonical JSON."""
    trainings_before: int = 0
    rewind_point: Piece | None = None
    label: str = ""
    """In place of the cell's."""
    teacher: Piece | None = None


def plan(cells: Iterable[Cell]) -> Plan:
    """Plan cells; their dense references must be among them.

    Raises:
        UsageError: a method rewinds a task to a point after which nothing is left to train.
    """
    result = Plan()
    dense = {}
    # Cells of one method object and sparsity are cut alike; what they are cut into is worked out once.
    pieces: dict[tuple[int, str], list[Piece]] = {}
    for cell in cells:
        result.cells[cell.id] = cell
        key = (id(cell.method), repr(cell.sparsity))
        if key not in pieces:
            pieces[key] = list(cut(cell.method.steps(cell.sparsity)))
        result.chains[cell.id] = tuple(_chain(cell, pieces[key], result.stages))
        if cell.method.is_dense:
            dense[cell.task.name, cell.seed] = cell.id
    for cell in result.cells.values():
        result.references[cell.id] = dense[cell.task.name, cell.seed]
    return result


def cut(steps: Iterable[tuple[Phase, str]]) -> Iterator[Piece]:
    """Cut phases, each given with its canonical text, after each training."""
    run: list[Phase] = []
    texts: list[list[str]] = [[]]
    trainings = 0
    for phase, text in steps:
        run.append(phase)
        texts[-1].append(text)
        if isinstance(phase, Train):
            yield _piece(run, texts, trainings)
            run, trainings = [], trainings + 1
            texts.append([])
    if run:
        yield _piece(run, texts, trainings)


def _piece(run: list[Phase], texts: list[list[str]], trainings: int) -> Piece:
    point = teacher = None
    for phase in run:
        if isinstance(phase, Rewind) and phase.to > 0:
            point = _training(Train(until=phase.to), f"rewind point {phase.to:g}")
        if isinstance(phase, Train) and phase.distill and phase.distill.needs_teacher:
            teacher = _training(Train(), "teacher")
    return Piece(tuple(run), list_text(map(list_text, texts)), trainings, point, teacher=teacher)


def _training(phase: Train, label: str) -> Piece:
    """A stage that is one training from initialisation."""
    return Piece((phase,), list_text([list_text([canonical(describe(phase))])]), label=label)


def _chain(cell: Cell, pieces: list[Piece], stages: dict[str, Stage]) -> Iterator[str]:
    parent = None
    for piece in pieces:
        if piece.rewind_point:
            _check_something_is_left(cell, piece.rewind_point)
        point = _add(stages, cell, piece.rewind_point, None, None) if piece.rewind_point else None
        teacher = _add(stages, cell, piece.teacher, None, None) if piece.teacher else None
        parent = _add(stages, cell, piece, parent, point, teacher)
        yield parent


def _check_something_is_left(cell: Cell, point: Piece) -> None:
    """Trainings have whole epochs: of few, a rewind point before the end may be rounded to it."""
    (training,), epochs = point.phases, cell.task.recipe.epochs
    if epochs_of(epochs, training.until) >= epochs_of(epochs, 1.0):
        raise UsageError(
            f"task {cell.task.name!r}, method {cell.method.name!r}: a rewind point at {training.until:g} of "
            f"{epochs:g} epoch(s), in whole ones, is the end of training, and nothing would be left to train; "
            "give the task more epochs, or the method an earlier point or rewind=0"
        )


def _add(
    stages: dict[str, Stage],
    cell: Cell,
    piece: Piece,
    parent: str | None,
    point: str | None,
    teacher: str | None = None,
) -> str:
    name = name_of_text(object_text(task=cell.task.text, seed=canonical(cell.seed), history=piece.history))
    if name not in stages:
        scores = _add_scores(stages, cell) if cell.task.diet else None
        label = piece.label or cell.label
        stages[name] = Stage(
            name, cell.task, cell.seed, piece.phases, parent, point, piece.trainings_before, label, teacher, scores
        )
    return name


def scores_name(task: Task) -> str | None:
    """The stage with the scores that a diet asks for; None if it asks for none."""
    source = task.diet.source
    return source and name_of_text(object_text(task=task.whole.text, scores=canonical(source)))


def _add_scores(stages: dict[str, Stage], cell: Cell) -> str | None:
    task, diet, name = cell.task.whole, cell.task.diet, scores_name(cell.task)
    if name and name not in stages:
        label, networks = f"{task.name} scores {diet.arm}", ()
        if diet.epoch:
            piece = _training(
                Train(until=diet.epoch / task.recipe.epochs, forgets=diet.kind == "training"), f"network for {label}"
            )
            networks = tuple(
                _add(stages, replace(cell, task=task, seed=seed), piece, None, None) for seed in diet.seeds
            )
        stages[name] = Stage(name, task, 0, (), None, None, 0, label, scoring=diet, networks=networks)
    return name
