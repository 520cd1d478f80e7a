"""``sparsebench report BOARD``"""

from __future__ import annotations

from pathlib import Path

from sparsebench.errors import UsageError
from sparsebench.grid import board as boards
from sparsebench.grid.store import Store


def command(arguments) -> int:
    from sparsebench.report import read, render, show

    board = boards.load(arguments.board)
    folder = Path(arguments.results) / board.name
    if not next(folder.glob("*/*.json"), None):
        raise UsageError(f"no records below {folder}; make some: sparsebench run {arguments.board}")
    info = board.info() | {"command": f"sparsebench run {arguments.board}"}
    memory = Store(arguments.store).memory_of(folder)
    standing = read(folder, info, memory)
    for path in render(folder, info, not arguments.no_figures, standing, memory):
        print(path)
    show(folder, info, standing)
    return 0
