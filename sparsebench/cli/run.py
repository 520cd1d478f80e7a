"""``sparsebench run BOARD``"""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from sparsebench.cli.display import Display
from sparsebench.cli.place import check_recipes, default_workers, launcher_options, read_hardware
from sparsebench.errors import SparsebenchError, UsageError
from sparsebench.grid import board as boards
from sparsebench.grid.jobs import Context
from sparsebench.grid.run import Result, publish, run
from sparsebench.grid.store import Store
from sparsebench.launchers import check_launcher
from sparsebench.launchers.slurm import Detached
from sparsebench.launchers.team import check_team, team
from sparsebench.methods import from_file


def command(arguments) -> int:
    methods, files = read_methods(arguments.methods)
    whole = boards.load(arguments.board)
    board = whole.narrowed(methods, arguments.tasks, arguments.seeds, arguments.sparsities)
    context, options = context_of(board, arguments, tuple(files))
    began = time.perf_counter()
    result = computed(board, context, arguments, options, Path(arguments.results))
    if result is None:
        return 0
    listed = replace(whole, methods=tuple({m.name: m for m in (*whole.methods, *board.methods)}.values()))
    return tell(result, listed, arguments, time.perf_counter() - began)


def context_of(board: boards.Board, arguments, files: tuple[str, ...] = ()) -> tuple[Context, dict[str, Any]]:
    """Where a board is computed, and the launcher's own options; mistakes are found before any work starts."""
    hardware = read_hardware(arguments)
    check_launcher(arguments.launcher)
    options = launcher_options(arguments)
    check_recipes(board, hardware)
    typed = "sparsebench " + shlex.join(sys.argv[1:])
    return Context(arguments.store, hardware, typed, files, arguments.time_limit), options


def computed(board: boards.Board, context: Context, arguments, options: dict[str, Any], results: Path) -> Result | None:
    """What is missing, run and published; None where others do it: a cluster, or the leader of these processes."""
    if arguments.launcher == "torchrun":
        check_team(context.hardware)
        with team(context) as leading:
            return compute(board, context, arguments, options, results) if leading else None
    return compute(board, context, arguments, options, results)


def compute(board: boards.Board, context: Context, arguments, options: dict[str, Any], results: Path) -> Result | None:
    """Run what is missing and publish it."""
    check_results(results / board.name)
    workers = arguments.workers or default_workers(context.hardware, arguments.launcher)
    try:
        with Display(board.title) as display:
            result = run(board, context, workers, display.update, arguments.launcher, **options)
    except Detached as away:
        print(f"{away}\nprogress:  {progress_command(arguments)}")
        return None
    try:
        publish(board, result, results)
    except OSError as error:
        where = f"{error.filename or arguments.results}: {error.strerror or error}"
        remedy = f"the records are in the store {arguments.store}: make space and give the same command again"
        raise SparsebenchError(f"{where}; {remedy}") from None
    return result


def progress_command(arguments) -> str:
    """How to see what a cluster has done so far."""
    if arguments.command == "reproduce":
        return f"sparsebench reproduce {arguments.paper} --scale {arguments.scale} --render"
    return f"sparsebench status {arguments.board} --store {arguments.store}"


def check_results(folder: Path) -> None:
    """Refuse a results folder that cannot be written before hours of work instead of after them.

    Raises:
        UsageError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"results folder {folder} cannot be written ({error.strerror}); choose another with --results"
        ) from None


def read_methods(words: list[str] | None) -> tuple[list[str] | None, list[str]]:
    """Method strings, with files replaced by the methods they define; and the files."""
    if words is None:
        return None, []
    methods, files = [], []
    for word in words:
        path, _, wanted = word.partition(".py:")
        if word.endswith(".py") or wanted:
            file = path + ".py" if wanted else word
            methods += from_file(file, wanted or None)
            files.append(file)
        else:
            methods.append(word)
    return methods, files


def tell(result: Result, board: boards.Board, arguments, seconds: float) -> int:
    """Render, print, and say what went wrong."""
    from sparsebench.report import read, render, show

    folder = Path(arguments.results) / board.name
    memory = Store(arguments.store).memory_of(folder)
    info = board.info() | {"command": f"sparsebench run {arguments.board}"}
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    standing = read(folder, info, memory)
    if result.jobs or not (folder / "leaderboard.md").exists():
        written = render(folder, info, standing=standing, memory=memory)
        page = next(path for path in written if path.suffix == ".md")
    else:
        page = folder / "leaderboard.md"
    show(folder, info, standing)
    work = f"{result.jobs} jobs in {seconds:.0f} s" if result.jobs else "nothing to do"
    print(f"{len(result.records)} cells done, {work}; leaderboard: {page}")
    for line in failures(result.failed, {cell.id: cell.label for cell in board.cells}):
        print(line, file=sys.stderr)
    return 1 if result.failed else 0


def failures(failed: dict[str, str], labels: dict[str, str]) -> list[str]:
    """One line a reason, not one a cell.

    >>> failures({"a": "disk full", "b": "disk full"}, {"a": "task one", "b": "task two"})
    ['2 cells failed (task one and 1 more): disk full', 'the same command tries them again']
    """
    reasons: dict[str, list[str]] = {}
    for cell, error in failed.items():
        reasons.setdefault(error, []).append(labels.get(cell, cell))
    lines = []
    for error, cells in reasons.items():
        more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
        lines.append(f"{len(cells)} cell{'s' if len(cells) > 1 else ''} failed ({cells[0]}{more}): {error}")
    return [*lines, "the same command tries them again"] if lines else []
