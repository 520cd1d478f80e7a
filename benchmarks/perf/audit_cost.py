"""Audit: which share of a cell's time its checks take.

    python benchmarks/perf/audit_cost.py [--board B] [--tasks T ...] [--methods M ...] [--sparsity S] [--rounds R]

One process computes the cells from an empty store; every function that is there for the audit alone is timed where it
is called. Not counted is what training needs anyway: masking gradients, evaluating, writing files.

Bar: negligible. Measured on the quick board, where networks are small and trainings short (NOTES.md): 2.8 % of the
perceptron's cells, 1.0 to 1.3 % of the others'.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from sparsebench.callbacks.upkeep import Upkeep
from sparsebench.grid import board as boards
from sparsebench.grid import finish, perform, stages, training, watch
from sparsebench.grid.board import Board
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context
from sparsebench.grid.run import run
from sparsebench.masks import Masks

CHECKS = {
    "rule 7: hash of the network and random states, before and after scoring": [
        (perform, "state_hash"),
        (watch, "state_hash"),
    ],
    "rules 6, 10: digests of the network as a stage begins and ends": [
        (stages, "state_digest"),
        (perform, "state_digest"),
    ],
    "rule 2: pruned weights and moments at epoch ends": [(Upkeep, "undisturbed"), (Upkeep, "leaks")],
    "rules 3, 4, 5, 8: notes of a training and a stage": [
        (training, "audit_pruner"),
        (stages, "audit_stage"),
        (stages, "hear_ranks"),
        (Masks, "nested_in"),
    ],
    "rules 1, 2, 8 to 11: the finished network": [
        (finish, "audit"),
        (finish, "own_count"),
        (finish, "differences"),
        (finish, "mixed"),
    ],
    "sha256 of a stage's files, for verify": [(stages, "sha256")],
}
METHODS = ["dense", "magnitude@imp", "snip@init", "magnitude@gmp", "rigl"]


class Clock:
    """Seconds and calls of watched functions, those within another watched one not counted twice."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._inside = False

    def watched(self, function: Callable, name: str) -> Callable:
        def timed(*arguments: Any, **options: Any) -> Any:
            if self._inside:
                return function(*arguments, **options)
            self._inside, began = True, time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds[name] += time.perf_counter() - began
                self.calls[name] += 1
                self._inside = False

        return timed


@contextmanager
def watching(clock: Clock) -> Iterator[None]:
    with ExitStack() as patches:
        for name, places in CHECKS.items():
            for owner, attribute in places:
                function = clock.watched(getattr(owner, attribute), name)
                patches.enter_context(patch.object(owner, attribute, function))
        yield


def measure(board: Board) -> tuple[float, Clock]:
    """Seconds of all cells, from an empty store, and of their checks."""
    clock = Clock()
    with TemporaryDirectory() as store, watching(clock):
        began = time.perf_counter()
        result = run(board, Context(store, Hardware(), "audit_cost"), 1, launcher="inline")
        seconds = time.perf_counter() - began
    if result.failed:
        raise SystemExit(f"failed: {result.failed}")
    return seconds, clock


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--board", default="quick")
    options.add_argument("--tasks", nargs="+", default=["digits-mlp", "digits-resnet8"])
    options.add_argument("--methods", nargs="+", default=METHODS)
    options.add_argument("--sparsity", type=float, default=0.9375)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    for task in chosen.tasks:
        board = boards.load(chosen.board).narrowed(chosen.methods, [task], [0], [chosen.sparsity])
        rounds = [measure(board) for _ in range(chosen.rounds + 1)][1:]  # the first one imports
        shares = sorted(sum(clock.seconds.values()) / seconds for seconds, clock in rounds)
        seconds, clock = rounds[-1]
        print(f"\n{task}: {len(board.cells)} cells in {seconds:.1f} s; checks", end=" ")
        print(f"{median(shares):.2%} ({shares[0]:.2%} to {shares[-1]:.2%}) of it, in the last round:")
        for name in CHECKS:
            spent, calls = clock.seconds[name], clock.calls[name]
            print(f"  {spent * 1e3:8.1f} ms {spent / seconds:7.2%} {calls:5d} calls   {name}")


if __name__ == "__main__":
    main()
