"""``sparsebench report BOARD``"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparsebench.errors import UsageError
from sparsebench.grid import board as boards
from sparsebench.grid.store import Store


def command(arguments) -> int:
    import pandas as pd

    from sparsebench.report import formats, read, show

    wanted = formats.wanted(arguments.format)
    board = boards.load(arguments.board)
    folder = Path(arguments.results) / board.name
    if not next(folder.glob("*/*.json"), None):
        raise UsageError(f"no records below {folder}; make some: sparsebench run {arguments.board}")
    info = board.info() | {"command": f"sparsebench run {arguments.board}"}
    memory = Store(arguments.store).memory_of(folder)
    # Python's own strings: a table of a few thousand short ones is read value by value, where Arrow's are slow.
    with uncollected(), pd.option_context("mode.string_storage", "python"):
        standing = read(folder, info, memory)
        for path in formats.write(standing, folder, wanted, not arguments.no_figures, memory):
            print(path)
        show(folder, info, standing)
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
