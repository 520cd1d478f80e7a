"""Rerun: a cell from its record alone, and its record computed anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sparsebench.corruptions import SETS
from sparsebench.errors import UsageError
from sparsebench.grid.board import Board
from sparsebench.grid.cell import Cell
from sparsebench.grid.jobs import Context
from sparsebench.grid.run import failed_record, run
from sparsebench.launchers import Listener
from sparsebench.methods import Method, parse
from sparsebench.phases import Phase, Scorer, Train, describe, phase_of
from sparsebench.protocol import PROTOCOL, canonical
from sparsebench.record import Record
from sparsebench.registry import criterion, dataset, network
from sparsebench.tasks import Task, from_settings


@dataclass(frozen=True)
class Recorded(Method):
    """A method as a record has it: its phases are those of the record, whatever a board's defaults are today."""

    recorded: tuple[Phase, ...] = ()

    def steps(self, sparsity: float) -> tuple[tuple[Phase, str], ...]:
        return tuple((phase, canonical(describe(phase))) for phase in self.recorded)


def cell_of(data: Mapping[str, Any]) -> Cell:
    """The cell whose record this is, from the record's settings.

    Raises:
        UsageError: another protocol, a task, phase or method that is not known here, a user's method file that
            was not given or is another one, or settings that are not those of the record's id or method.
    """
    if data["protocol"] != PROTOCOL:
        raise UsageError(
            f"cell {data['cell_id']} was computed under protocol {data['protocol']}, this version has protocol "
            f"{PROTOCOL}: numbers of two protocols are not comparable; install the version of the record's "
            f"commit {data['provenance'].get('commit')}"
        )
    settings = data["settings"]
    phases = tuple(phase_of(phase) for phase in settings["phases"])
    method, asked = _method(data, phases), settings.get("corruptions", SETS[0])
    measures = tuple(settings.get("measures", ()))
    cell = Cell(_task(settings["task"]), method, settings["sparsity"], settings["seed"], asked, measures)
    if cell.id != data["cell_id"]:
        raise UsageError(f"the settings in the record of cell {data['cell_id']} are those of cell {cell.id}")
    return cell


def recompute(
    cell: Cell,
    context: Context,
    workers: int = 1,
    listener: Listener = lambda progress: None,
    launcher: str = "local",
) -> Record:
    """The record of a cell, and of the dense cell it is compared with, computed in the context's store."""
    board = board_of(cell)
    result = run(board, context, workers, listener, launcher)
    if cell.id in result.failed:
        return Record(failed_record(cell, result.failed[cell.id]))
    return result.records[cell.id]


def board_of(cell: Cell) -> Board:
    """A board of this cell and its dense reference."""
    methods = (cell.method,) if cell.method.is_dense else (parse("dense"), cell.method)
    return Board(
        "rerun", 1, f"rerun of {cell.label}", (cell.task,), methods, (cell.sparsity,), (cell.seed,),
        corruptions=cell.corruptions, measures=cell.measures,
    )  # fmt: skip


def _task(settings: Mapping[str, Any]) -> Task:
    try:
        task = from_settings(dict(settings))
    except (TypeError, KeyError) as error:
        raise UsageError(
            f"task {settings.get('name')!r} of the record is not one this version reads ({error})"
        ) from None
    network.entry(task.network)
    dataset.entry(task.dataset)
    return task


def _method(data: Mapping[str, Any], phases: tuple[Phase, ...]) -> Recorded:
    """The record's method with the arguments it was computed with, which its name need not tell."""
    text, scorer = data["cell"]["method"], _scorer(phases)
    if scorer:
        _check_source(text, scorer)
    try:
        method = parse(text, _arguments(data, scorer))
    except UsageError as error:
        raise UsageError(f"{error}; if a file of yours defines it, give it with --methods FILE.py") from None
    if data["status"] == "ok" and [describe(p) for p in method.phases(data["settings"]["sparsity"])] != [
        describe(p) for p in phases
    ]:
        raise UsageError(
            f"method {text!r} of cell {data['cell_id']} does not lead to the phases in the record's settings"
        )
    return Recorded(**{f.name: getattr(method, f.name) for f in fields(Method)}, recorded=phases)


def _scorer(phases: tuple[Phase, ...]) -> Scorer | None:
    steps = [phase.pruner if isinstance(phase, Train) else phase for phase in phases]
    return next((step.scorer for step in steps if isinstance(getattr(step, "scorer", None), Scorer)), None)


def _check_source(text: str, scorer: Scorer) -> None:
    """A user's criterion is the content of a file."""
    entry = criterion.entries.get(scorer.criterion)
    if entry is None and scorer.source:
        raise UsageError(
            f"method {text!r} was read from a file, which a record does not hold: give it with --methods FILE.py"
        )
    here = criterion.entry(scorer.criterion).source_digest()
    if here != scorer.source:
        raise UsageError(
            f"method {text!r}: the record's {scorer.criterion} is {_source(scorer.source)}, here it is {_source(here)} "
            f"({entry.path}); give the file as it was with --methods FILE.py"
        )


def _source(digest: str | None) -> str:
    return f"from a file with digest {digest}" if digest else "the one that ships"


def _arguments(data: Mapping[str, Any], scorer: Scorer | None) -> dict[str, dict[str, Any]]:
    """The values of all arguments, in the form of a board's ``defaults``."""
    known = data.get("fingerprint", {})
    named = dict(known.get("modifiers", ()))
    if "regime" in known:
        named[known["regime"]] = known["regime_arguments"]
    return named | ({scorer.criterion: scorer.arguments} if scorer else {})
