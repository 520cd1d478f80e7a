"""Side by side: rivals timed in turn in one process, so that a disturbance hits all of them.

A figure on a noisy machine means little; the ratio of two that were measured in the same minute means more. Each round
times every rival once, in a changing order. The ratio is taken within rounds; printed are its median and quartiles.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds of every round, and as a ratio to the first rival's."""

    name: str
    seconds: list[float]
    ratios: list[float]

    def line(self, unit: float = 1e3) -> str:
        low, middle, high = statistics.quantiles(self.ratios, n=4)
        took = statistics.median(self.seconds) * unit
        return f"{self.name:32s} {took:10.3f}   {middle:6.3f}x   ({low:.3f} to {high:.3f})"


def side_by_side(rivals: dict[str, Callable[[], object]], rounds: int = 15, warm: int = 1) -> list[Timing]:
    """Time functions in turn; the first one is what the others are compared with."""
    names = list(rivals)
    for _ in range(warm):
        for rival in rivals.values():
            rival()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            gc.collect()
            began = time.perf_counter()
            rivals[name]()
            seconds[name].append(time.perf_counter() - began)
    first = seconds[names[0]]
    return [Timing(n, seconds[n], [s / f for s, f in zip(seconds[n], first, strict=True)]) for n in names]


def report(title: str, timings: list[Timing], bar: str = "", unit: float = 1e3, what: str = "ms") -> None:
    print(f"\n{title}" + (f"   (to reach: {bar})" if bar else ""))
    print(f"{'':32s} {what:>10s}   {'ratio':>7s}   (quartiles)")
    for timing in timings:
        print(timing.line(unit))
