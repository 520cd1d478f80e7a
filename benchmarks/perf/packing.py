"""Packing: a grid of small cells with several workers on one device, against one after the other.

    python benchmarks/perf/packing.py [--tasks T ...] [--workers N ...] [--threads N] [--rounds R] [--accelerator gpu]

Bar: two workers of one thread at least 1.7x as fast as one, on two cores. ``--threads 2`` adds one worker of two
threads, the other way to use the cores; only for a machine that does nothing else, since threads wait by spinning.
On a GPU ``--workers 2 4 8`` shows how many cells to run on it at a time.

All rivals run one board (a dense row and two methods at three sparsities, three seeds) from an empty store, with the
same launcher. The process that workers are forked from is started before the clock; on a GPU, where workers start anew,
their start counts. The report is not drawn.

Measured on two cores of an AMD EPYC virtual machine that nothing else of ours used (load 1.4 to 1.6), torch 2.15,
``--threads 2``; ratio of times within rounds, median (quartiles):

    21 cells of digits-mlp        two workers 0.552x (0.509 to 0.573) = 1.8 times as fast; one of two threads 1.16x
    21 cells of digits-resnet8    two workers 0.522x (0.500 to 0.541) = 1.9 times as fast; one of two threads 0.82x
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from tempfile import TemporaryDirectory

from side_by_side import report, side_by_side

from sparsebench.grid import board as boards
from sparsebench.grid.board import Board
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context
from sparsebench.grid.run import run
from sparsebench.record import Record

METHODS = ["snip@init", "magnitude@finetune"]
SPARSITIES = [0.75, 0.9375, 0.98]
SEEDS = [0, 1, 2]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tasks", nargs="+", default=["digits-mlp", "digits-resnet8"])
    options.add_argument("--workers", nargs="+", type=int, default=[2])
    options.add_argument("--threads", type=int, default=1, help="of one worker beside those of one thread")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--accelerator", default="cpu", choices=["cpu", "gpu"])
    chosen = options.parse_args()
    for task in chosen.tasks:
        grid = small_cells([task])
        rivals = {"one after the other": partial(records, grid, 1, Hardware(chosen.accelerator))}
        if chosen.threads > 1:
            rivals[f"one worker of {chosen.threads} threads"] = partial(
                records, grid, 1, Hardware(threads=chosen.threads)
            )
        for count in chosen.workers:
            rivals[f"{count} workers"] = partial(records, grid, count, Hardware(chosen.accelerator, per_device=count))
        timings = side_by_side(rivals, rounds=chosen.rounds)
        report(f"{len(grid.cells)} cells of {task}", timings, "1 / 1.7 = 0.588x with two workers", unit=1, what="s")
    print(f"load: {' '.join(f'{load:.1f}' for load in os.getloadavg())}, {os.cpu_count()} cores")


def small_cells(tasks: list[str]) -> Board:
    """The part of the quick board that all rivals run."""
    return boards.load("quick").narrowed(METHODS, tasks, SEEDS, SPARSITIES)


def records(board: Board, workers: int, hardware: Hardware) -> dict[str, Record]:
    """The board's records, computed from nothing."""
    with TemporaryDirectory() as store:
        result = run(board, Context(store, hardware, "packing"), workers)
    if result.failed:
        raise SystemExit(f"cells failed: {result.failed}")
    return result.records


if __name__ == "__main__":
    main()
