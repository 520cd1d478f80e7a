"""``sparsebench status BOARD``"""

from __future__ import annotations

from collections import Counter

from sparsebench.cli.cycles import uncollected
from sparsebench.grid import board as boards
from sparsebench.grid.plan import plan
from sparsebench.grid.store import Store


@uncollected()
def command(arguments) -> int:
    board = boards.load(arguments.board)
    whole, store = plan(board.cells), Store(arguments.store)
    cells, stages = store.done_cells() & set(whole.cells), store.done_stages() & set(whole.stages)
    print(f"board {board.name} v{board.version}: {board.title}")
    print(f"cells   {len(cells)} of {len(whole.cells)} done")
    shared = f"{whole.trainings} trainings stand for {whole.trainings_unshared}"
    print(f"stages  {len(stages)} of {len(whole.stages)} done ({shared})")
    missing = Counter(c.method.name for name, c in whole.cells.items() if name not in cells)
    for method, count in missing.items():
        print(f"  {method}: {count} cells to go")
    if missing:
        print(f"continue: sparsebench run {arguments.board}")
    return 0
