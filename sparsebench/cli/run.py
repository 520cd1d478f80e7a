"""``sparsebench run BOARD``"""

from __future__ import annotations

import os
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

from sparsebench.cli.accelerator import choose_accelerator, count_gpus
from sparsebench.cli.display import Display
from sparsebench.errors import UsageError, unknown
from sparsebench.grid import board as boards
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context
from sparsebench.grid.run import LAUNCHERS, Result, publish, run
from sparsebench.methods import from_file


def command(arguments) -> int:
    methods, files = read_methods(arguments.methods)
    whole = boards.load(arguments.board)
    board = whole.narrowed(methods, arguments.tasks, arguments.seeds, arguments.sparsities)
    hardware = read_hardware(arguments)
    if arguments.launcher not in LAUNCHERS:
        raise unknown("launcher", arguments.launcher, LAUNCHERS, "sparsebench run --help")
    context = Context(arguments.store, hardware, "sparsebench " + shlex.join(sys.argv[1:]), tuple(files))
    check_results(Path(arguments.results) / board.name)
    workers = arguments.workers or default_workers(hardware)
    began = time.perf_counter()
    with Display(board.title) as display:
        result = run(board, context, workers, display.update, arguments.launcher)
    publish(board, result, Path(arguments.results))
    listed = replace(whole, methods=tuple({m.name: m for m in (*whole.methods, *board.methods)}.values()))
    return tell(result, listed, arguments, time.perf_counter() - began)


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


def read_hardware(arguments) -> Hardware:
    """Where to run.

    Raises:
        UsageError: a number that must be positive is not, or an accelerator that is not there.
    """
    for name in ("threads", "workers"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name} {value}: at least 1 is needed")
    accelerator = choose_accelerator(arguments.accelerator)
    return Hardware(
        accelerator,
        threads=arguments.threads,
        checkpoint_seconds=arguments.checkpoint_seconds,
        data_root=arguments.data,
        download=arguments.download,
    )


def default_workers(hardware: Hardware) -> int:
    if hardware.accelerator == "gpu":
        return max(1, count_gpus() // hardware.devices)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // hardware.threads)


def tell(result: Result, board: boards.Board, arguments, seconds: float) -> int:
    """Render, print, and say what went wrong."""
    from sparsebench.report import render, show

    folder = Path(arguments.results) / board.name
    info = board.info() | {"command": f"sparsebench run {arguments.board}"}
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    if result.jobs or not (folder / "leaderboard.md").exists():
        written = render(folder, info)
        page = next(path for path in written if path.suffix == ".md")
    else:
        page = folder / "leaderboard.md"
    show(folder, info)
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
