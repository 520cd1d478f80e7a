"""``sparsebench report BOARD``"""

from __future__ import annotations

from pathlib import Path

from sparsebench.errors import UsageError
from sparsebench.grid import board as boards


def command(arguments) -> int:
    from sparsebench.report import render, show

    board = boards.load(arguments.board)
    folder = Path(arguments.results) / board.name
    if not any(folder.glob("*/*.json")):
        raise UsageError(f"no records below {folder}; make some: sparsebench run {arguments.board}")
    info = board.info() | {"command": f"sparsebench run {arguments.board}"}
    for path in render(folder, info, figures=not arguments.no_figures):
        print(path)
    show(folder, info)
    return 0
