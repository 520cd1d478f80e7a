"""How far do records move when the same cells are rounded otherwise? The figures of docs/determinism.md.

    sparsebench run quick --seeds 0 --threads 2 --store .other --results other
    python benchmarks/rounding.py results/quick other/quick

For every measure: in how many cells it moved, and median, 95th percentile and largest of the distance; for shares
also the largest in standard deviations ``sqrt(2 p (1 - p) / n)`` of two independent draws of n images.
"""

from __future__ import annotations

import sys
from math import sqrt
from statistics import median, quantiles

from sparsebench.agreement import Tolerance, differences
from sparsebench.record import load_all

SHARES = ("metrics.top1", "metrics.top5", "metrics.worst_class")
OTHERS = (
    "metrics.nll", "metrics.ece", "metrics.cev_s1", "metrics.sde_s1", "metrics.dead_static",
    "metrics.dead_dynamic_alive", "metrics.dead_permanent", "metrics.neg_preact", "flops.speedup", "cost.train_flops",
)  # fmt: skip


def main(here: str, there: str) -> None:
    ours, theirs = ({r.data["cell_id"]: r.data for r in load_all(folder)[0]} for folder in (here, there))
    pairs = [(ours[cell], theirs[cell]) for cell in ours if cell in theirs]
    pairs = [(a, b) for a, b in pairs if a["status"] == b["status"] == "ok"]
    print(
        f"{len(pairs)} cells\n{'measure':28} {'moved':>5} {'median':>9} {'95 %':>9} {'largest':>9} {'deviations':>10}"
    )
    for name in SHARES + OTHERS:
        values = [(value(a, name), value(b, name), a) for a, b in pairs]
        values = [(x, y, a) for x, y, a in values if x is not None and y is not None]
        far = [abs(y - x) for x, y, _ in values]
        if len(far) < 2:
            continue
        most = max(deviations(x, y, images(a, name)) for x, y, a in values) if name in SHARES else None
        nearly_all = quantiles(far, n=20, method="inclusive")[-1]
        row = f"{sum(d > 0 for d in far):5} {median(far):9.2g} {nearly_all:9.2g} {max(far):9.2g}"
        print(f"{name:28} {row}" + (f" {most:10.1f}" if most is not None else ""))
    outside = [(a, lines) for a, b in pairs if (lines := differences(a, b, Tolerance()))]
    print(f"{sum(not differences(a, b) for a, b in pairs)} bit-equal, {len(outside)} outside the tolerance")
    for record, lines in outside:
        cell = record["cell"]
        print(f"  {cell['task']} {cell['method']} {cell['sparsity']:g} seed {cell['seed']}: {'; '.join(lines)}")


def value(record: dict, name: str) -> float | None:
    part, _, field = name.partition(".")
    return record[part].get(field)


def images(record: dict, name: str) -> int:
    """How many images a share is of."""
    counts = record["per_class"]["n"]
    return min(counts) if name.endswith("worst_class") else sum(counts)


def deviations(x: float, y: float, n: int) -> float:
    """The distance of two shares in standard deviations of the difference of two independent draws."""
    p = (x + y) / 2
    return abs(y - x) / sqrt(2 * p * (1 - p) / n) if 0 < p < 1 else 0.0


if __name__ == "__main__":
    main(*sys.argv[1:])
