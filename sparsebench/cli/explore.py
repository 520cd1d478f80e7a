"""``sparsebench explore BOARD``"""

from __future__ import annotations

import shlex
from pathlib import Path

from sparsebench.cli.reproduce import FOLDER
from sparsebench.errors import UsageError
from sparsebench.files import write_atomic
from sparsebench.grid import board as boards
from sparsebench.grid.board import Board
from sparsebench.grid.store import Store
from sparsebench.papers import recipe as recipes
from sparsebench.report import explore


def command(arguments) -> int:
    board, folder, run = board_of(arguments.board, arguments.scale, Path(arguments.results))
    unknown = sorted(set(arguments.seeds or ()) - set(board.seeds))
    if unknown:
        raise UsageError(f"--seeds {unknown[0]}: board {board.name} has {', '.join(map(str, board.seeds))}")
    target = Path(arguments.to) if arguments.to else folder / "explore.html"
    if target.is_dir():
        raise UsageError(f"--to {target} is a folder: name a file in it, such as {target / 'explore.html'}")
    store = Store(arguments.store)
    if arguments.store != ".sparsebench":
        run += f" --store {shlex.quote(arguments.store)}"
    ids = [cell.id for cell in board.cells]
    found, notes = store.readable_records(set(ids))
    for note in notes:
        print(f"note: {note}")
    records = [found[name] for name in ids if name in found]
    info = {**board.info(), "command": run}
    print(write_atomic(target, explore.page(info, records, store.folder / "measures", arguments.seeds, arguments.map)))
    return 0


def board_of(name: str, scale: str, results: Path) -> tuple[Board, Path, str]:
    """The board of that name, file or paper, the folder of its results, and the command that runs it.

    Raises:
        UsageError: there is none.
    """
    if name in recipes.names() or name.endswith(".py"):
        recipe = recipes.load(name)
        return recipe.board(scale), results / FOLDER / recipe.name, f"sparsebench reproduce {name} --scale {scale}"
    board = boards.load(name)
    return board, results / board.name, f"sparsebench run {name}"
