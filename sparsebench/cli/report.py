"""``sparsebench report BOARD``"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from sparsebench.cli.cycles import uncollected
from sparsebench.errors import UsageError
from sparsebench.grid import board as boards
from sparsebench.grid.store import Store

if TYPE_CHECKING:
    from rich.console import Console

    from sparsebench.report.again import Files
    from sparsebench.report.stamps import Listing


@uncollected()
def command(arguments) -> int:
    from sparsebench.report import again, formats

    wanted = formats.wanted(arguments.format)
    board = boards.load(arguments.board)
    folder = Path(arguments.results) / board.name
    if not next(folder.glob("*/*.json"), None):
        raise UsageError(f"no records below {folder}; make some: sparsebench run {arguments.board}")
    info = board.info() | {"command": f"sparsebench run {arguments.board}"}
    memory = Store(arguments.store).memory_of(folder)

    def report(there: Listing, console: Console) -> Files:
        from sparsebench.report import read, show

        with python_strings():
            standing = read(folder, info, memory, there)
            show(folder, info, standing, console)

        def make() -> list[Path]:
            with python_strings():
                return formats.write(standing, folder, wanted, not arguments.no_figures, memory)

        return make

    say(again.said(folder, info, [wanted, arguments.no_figures], memory, report))
    return 0


def say(parts: Iterator[str]) -> None:
    """Print parts as they come; the files that a later one makes are made also if nobody reads on."""
    for text in parts:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            deque(parts, maxlen=0)
            raise


def python_strings() -> AbstractContextManager:
    """Python's own strings: a table of a few thousand short ones is read value by value, where Arrow's are slow."""
    import pandas as pd

    return pd.option_context("mode.string_storage", "python")
