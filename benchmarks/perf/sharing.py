"""Sharing: a board as sparsebench runs it, against every cell on its own, nothing shared, one after the other.

    python benchmarks/perf/sharing.py [--board quick] [--tasks T ...] [--seeds S ...] [--rounds R] [--workers W] [--all]

Bars: at most 0.35x the wall time with two workers on two cores, and the whole quick board in under 4 minutes.

The first rival does all of a cell's phases in an empty store of its own, then the next cell. It is favoured: one
process that has imported torch already does them all (no start of a process a cell, no report), and no cell trains the
dense network that it is compared with, unless its own method begins with it.
The others are the command ``sparsebench run BOARD`` in a new process with an empty store: imports, workers, report and
figures included. The one with one worker tells what is due to sharing and what to the second worker.

Stages are never shared across tasks or seeds, so a part of a board (default: one seed of two tasks) has the ratio of
the whole but for what is paid once a run. ``--all`` runs all of the board with every rival but the middle one, once;
nothing is estimated.

Measured with ``--all`` on two cores of an AMD EPYC virtual machine with the machine to itself (load 1.9), torch 2.15,
board version 2: every cell on its own 638.1 s, shared with two workers 222.9 s, 0.349x: both bars met, the first by a
hair. Version 1, with longer recipes: 1,180.2 s and 381.9 s, 0.324x, tests of ours running beside the second rival.
Trainings 408 of 696 = 0.586; in version 1 the seconds of the board's stages, each counted once, were 0.565x those of
all cells' chains; the second worker is worth 1.8 to 1.9 times (``packing.py``), less what a command starts with.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from side_by_side import report, side_by_side

from sparsebench.grid import board as boards
from sparsebench.grid.board import Board
from sparsebench.grid.cell import Cell
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context, StageJob, dependencies, perform
from sparsebench.grid.plan import Plan, plan


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--board", default="quick")
    options.add_argument("--tasks", nargs="+", default=["digits-mlp", "digits-resnet8"])
    options.add_argument("--seeds", nargs="+", type=int, default=[0])
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--all", action="store_true", help="the whole board, once")
    chosen = options.parse_args()
    whole = boards.load(chosen.board)
    board = whole if chosen.all else whole.narrowed(tasks=chosen.tasks, seeds=chosen.seeds)
    planned = plan(board.cells)
    print(
        f"{board.name}: {len(board.cells)} cells; trainings: {planned.trainings}, unshared {planned.trainings_unshared}"
    )
    rivals = {"every cell on its own": lambda: each_on_its_own(planned)}
    for workers in (chosen.workers,) if chosen.all else (1, chosen.workers):
        name = f"shared, {workers} worker{'s' * (workers > 1)}"
        rivals[name] = partial(command, board, chosen.board, workers)
    timings = side_by_side(rivals, rounds=1 if chosen.all else chosen.rounds, warm=0)
    if len(timings[0].seconds) > 1:
        report("wall time", timings, "0.35x with two workers", unit=1, what="s")
    else:
        for timing in timings:
            print(f"{timing.name:32s} {timing.seconds[0]:10.1f} s   {timing.ratios[0]:6.3f}x")
    print(f"load: {' '.join(f'{load:.1f}' for load in os.getloadavg())}, {os.cpu_count()} cores")


def each_on_its_own(whole: Plan) -> None:
    """Every cell of a plan from its first phase to its record, in a store that is deleted then."""
    for cell in whole.cells.values():
        with TemporaryDirectory() as store:
            on_its_own(whole, cell, store)


def on_its_own(whole: Plan, cell: Cell, store: str) -> None:
    """Compute one cell in this process; its record has no dense row to be compared with."""
    context = Context(store, Hardware(), "on its own")
    jobs, _ = dependencies(whole, list(stages_of(whole, cell)), [cell.id])
    for job in jobs.values():
        perform(job if isinstance(job, StageJob) else replace(job, reference=None), context)


def stages_of(whole: Plan, cell: Cell) -> Iterator[str]:
    """What a cell stands on, parents first."""
    wanted, todo = set(), list(whole.chains[cell.id])
    while todo:
        wanted.add(stage := todo.pop())
        todo.extend(whole.stages[stage].parents)
    return (stage for stage in whole.stages if stage in wanted)


def command(board: Board, name: str, workers: int) -> None:
    """``sparsebench run`` of these tasks and seeds from nothing."""
    tasks, seeds = [task.name for task in board.tasks], map(str, board.seeds)
    with TemporaryDirectory() as folder:
        places = ["--store", str(Path(folder) / "store"), "--results", str(Path(folder) / "results")]
        words = ["run", name, "--tasks", *tasks, "--seeds", *seeds, "--workers", str(workers), "--accelerator", "cpu"]
        ran = subprocess.run([sys.executable, "-m", "sparsebench", *words, *places], capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(ran.stderr)


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)  # as the workers
    main()
