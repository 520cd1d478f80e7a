"""Does a done board answer at once? Bars, all without torch: `run` again 3 s, `status` 1 s, `--help` 0.3 s.

    python benchmarks/perf/commands.py [--rounds N] [--board quick|methods] [--trained]

Every figure is a whole process pinned to one core, interpreter start included; the commands take turns within a round.
Printed are the median, the range, the median of the CPU time, and whether torch was imported. The board is done because
its committed records were copied into a store, beside empty files where stages are looked for; with ``--trained``, also
a part of the board that was really trained (four cells, half a minute). "first" is a run without anything remembered of
earlier reports. There is no rival; the line "bare interpreter" is the floor.

What came out of ``--rounds 7 --trained``. Two cores of an AMD EPYC virtual machine that other work was using (load 4 to
5), Python 3.11; median (range) of whole processes:

    --help                        0.22 s (0.14 to 0.31)   met
    status, 336 cells             0.41 s (0.27 to 0.43)   met
    run first, 336 cells          1.90 s (1.42 to 2.06)   met
    run again, 336 cells          1.65 s (1.27 to 2.09)   met
    run again, part of a board    1.19 s (0.81 to 1.69)   met
    run again, 957 cells          1.97 s (1.68 to 2.45)   met   (--board methods --rounds 3, load 2)
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from ten_thousand_cells import measure

RESULTS = Path(__file__).parents[2] / "results"
PART = ["--methods", "magnitude@init", "--tasks", "digits-mlp", "--seeds", "0"]
PROGRAM = [sys.executable, "-m", "sparsebench"]
MODULES = """
import sys
from sparsebench.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
raise SystemExit("torch" in sys.modules)
"""


class Timed(NamedTuple):
    """A command line, the seconds it may take, and what happens before each time."""

    words: list[str]
    bar: float | None
    prepare: Callable[[], None] = lambda: None


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--board", default="quick", help="a board with committed records")
    options.add_argument("--trained", action="store_true", help="also a part of the quick board, trained here")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        commands = light() | done_board(chosen.board, Path(temporary))
        if chosen.trained:
            commands |= trained_part(Path(temporary) / "trained")
        print(f"load {os.getloadavg()[0]:.1f}")
        runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
        for _ in range(chosen.rounds):
            for name, timed in commands.items():
                runs[name].append(measure(timed.words, timed.prepare))
        for name, timed in commands.items():
            tell(name, runs[name], timed)


def light() -> dict[str, Timed]:
    return {
        "bare interpreter": Timed([sys.executable, "-c", "pass"], None),
        "--help": Timed([*PROGRAM, "--help"], 0.3),
        "run --help": Timed([*PROGRAM, "run", "--help"], 0.3),
    }


def done_board(name: str, folder: Path) -> dict[str, Timed]:
    """Commands on a board that is done: its committed records copied into a store and into a results folder."""
    from synthetic import write_store

    from sparsebench.grid import board as boards
    from sparsebench.grid.plan import plan

    whole = plan(boards.load(name).cells)
    write_store(whole, folder / "store")
    shutil.copytree(RESULTS / name, folder / "results" / name)
    for record in (folder / "results" / name).glob("*/*.json"):
        shutil.copy(record, folder / "store" / "records")
    where = ["--store", f"{folder}/store", "--results", f"{folder}/results"]
    run, cells = [*PROGRAM, "run", name, *where], len(whole.cells)

    def forget() -> None:
        shutil.rmtree(folder / "store" / "cache", ignore_errors=True)

    return {
        f"status, {cells} cells": Timed([*PROGRAM, "status", name, *where], 1.0),
        f"run first, {cells} cells": Timed(run, 3.0, forget),
        f"run again, {cells} cells": Timed(run, 3.0),
    }


def trained_part(folder: Path) -> dict[str, Timed]:
    """Commands on a part of the quick board, after it was trained."""
    where = ["--store", f"{folder}/store", "--results", f"{folder}/results"]
    run = [*PROGRAM, "run", "quick", *PART, *where]
    subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
    return {
        "status, part of a board": Timed([*PROGRAM, "status", "quick", *where], 1.0),
        "run again, part of a board": Timed(run, 3.0),
    }


def tell(name: str, runs: list[tuple[float, float, float]], timed: Timed) -> None:
    seconds, busy, _ = zip(*runs, strict=True)
    verdict = ""
    if timed.bar:
        verdict = f"bar {timed.bar:g} s " + ("met" if median(seconds) < timed.bar else "MISSED")
        verdict += ", torch imported" if imports_torch(timed.words) else ", no torch"
    spread = f"({min(seconds):.2f} to {max(seconds):.2f})"
    print(f"{name:28}{median(seconds):6.2f} s {spread:16} CPU {median(busy):5.2f} s   {verdict}", flush=True)


def imports_torch(words: list[str]) -> bool:
    command = [sys.executable, "-c", MODULES, *words[len(PROGRAM) :]]
    return bool(subprocess.run(command, stdout=subprocess.DEVNULL).returncode)


if __name__ == "__main__":
    main()
