"""``sparsebench report BOARD``"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sparsebench.errors import UsageError
from sparsebench.grid import board as boards
from sparsebench.grid.store import Store

if TYPE_CHECKING:
    from rich.console import Console

    from sparsebench.report.again import Files
    from sparsebench.report.stamps import Listing


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
        import pandas as pd

        from sparsebench.report import read, show

        # Python's own strings: a table of a few thousand short ones is read value by value, where Arrow's are slow.
        with pd.option_context("mode.string_storage", "python"):
            standing = read(folder, info, memory, there)
            show(folder, info, standing, console)
        return lambda: formats.write(standing, folder, wanted, not arguments.no_figures, memory)

    with uncollected():
        for text in again.said(folder, info, [wanted, arguments.no_figures], memory, report):
            sys.stdout.write(text)
            sys.stdout.flush()
    return 0


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for cycles: a report makes many objects and few cycles, and the search took a tenth of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
