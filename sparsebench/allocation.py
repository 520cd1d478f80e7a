"""Allocation: how one global density becomes per-layer counts.

An allocation maps the shapes of the prunable tensors ``{name: (n_out, n_in, kh, kw)}`` and a density in
(0, 1] to a density for each tensor, or to None for one global ranking. ``layer_counts`` turns densities
into whole numbers whose sum is exactly ``round(density * total)``.
"""

from __future__ import annotations

from math import floor, prod

from sparsebench.errors import UsageError
from sparsebench.registry import Registry

Shapes = dict[str, tuple[int, ...]]

allocation = Registry("allocation", "sparsebench.allocation", "sparsebench list methods")


@allocation(name="global")
def one_ranking(shapes: Shapes, density: float) -> None:
    """One ranking over all tensors; layer densities fall out of the scores."""


@allocation
def uniform(shapes: Shapes, density: float) -> dict[str, float]:
    """The same density in every tensor.

    >>> uniform({"a": (10, 10), "b": (2, 2)}, 0.25)
    {'a': 0.25, 'b': 0.25}
    """
    return dict.fromkeys(shapes, density)


@allocation
def erk(shapes: Shapes, density: float) -> dict[str, float]:
    """Erdos-Renyi kernel: kept weights proportional to the sum of a tensor's dimensions.

        d_l = min(1, eps * sum(shape_l) / prod(shape_l))

    ``eps`` is solved anew each time a tensor saturates at 1, so the total is met (a single clamp
    undershoots). Source: RigL, Evci et al. 2020, arXiv:1911.11134; ER: Mocanu et al. 2018, arXiv:1707.04780.

    >>> erk({"small": (2, 2), "large": (16, 16)}, 0.2)
    {'small': 1.0, 'large': 0.1875}
    """
    target = density * sum(prod(s) for s in shapes.values())
    dense: set[str] = set()
    while True:
        rest = {n: s for n, s in shapes.items() if n not in dense}
        if not rest:
            return dict.fromkeys(shapes, 1.0)
        budget = target - sum(prod(shapes[n]) for n in dense)
        eps = budget / sum(sum(s) for s in rest.values())
        saturated = {n for n, s in rest.items() if eps * sum(s) >= prod(s)}
        if not saturated:
            return {n: 1.0 if n in dense else eps * sum(s) / prod(s) for n, s in shapes.items()}
        dense |= saturated


@allocation
def igq(shapes: Shapes, density: float) -> dict[str, float]:
    """Ideal gas quotas: large tensors are pruned more, none to exactly 0 or 1.

        d_l = 1 / (1 + F n_l),   F >= 0 by bisection to the target

    Source: Vysogorets & Kempe 2023, arXiv:2107.02306.

    >>> {n: round(d, 3) for n, d in igq({"small": (2, 5), "large": (10, 10)}, 0.2).items()}
    {'small': 0.648, 'large': 0.155}
    """
    sizes = {n: prod(s) for n, s in shapes.items()}
    target = density * sum(sizes.values())

    def kept(force: float) -> float:
        return sum(size / (1 + force * size) for size in sizes.values())

    low, high = 0.0, 1.0
    while kept(high) > target:
        high *= 2
    for _ in range(200):
        force = (low + high) / 2
        low, high = (force, high) if kept(force) > target else (low, force)
    return {n: 1 / (1 + high * size) for n, size in sizes.items()}


def kept_count(density: float, total: int) -> int:
    """The number of weights a density keeps: ``round(density * total)``, halves to even.

    >>> kept_count(1 - 0.9375, 64)
    4
    """
    # Densities arrive as 1 - sparsity; rounding to 12 places removes the binary residue of that difference.
    return round(round(density, 12) * total)


def layer_counts(
    name: str, shapes: Shapes, density: float, capacity: dict[str, int] | None = None
) -> dict[str, int] | None:
    """Kept weights for each tensor under the named allocation, exact in total; None for a global ranking.

    Fractions go to the largest remainders, ties to the earlier tensor. ``capacity`` (default: the sizes)
    bounds each count, so that iterative masks stay nested; what a full tensor cannot take the others share.

    Raises:
        UsageError: unknown allocation, or the capacity is below the target.

    >>> layer_counts("uniform", {"a": (5,), "b": (5,)}, 0.5)
    {'a': 3, 'b': 2}
    """
    densities = allocation.get(name)(shapes, density)
    if densities is None:
        return None
    sizes = {n: prod(s) for n, s in shapes.items()}
    capacity = sizes if capacity is None else capacity
    target = kept_count(density, sum(sizes.values()))
    if sum(capacity.values()) < target:
        raise UsageError(
            f"allocation {name!r}: {target} weights asked for, only {sum(capacity.values())} are left to keep"
        )
    ideal = {n: densities[n] * sizes[n] for n in shapes}
    # A sum such as 2.9999999999996 is a 3 that went through floating point.
    counts = {n: min(floor(ideal[n] + 1e-9), capacity[n]) for n in shapes}
    while (missing := target - sum(counts.values())) > 0:
        room = sorted((n for n in shapes if counts[n] < capacity[n]), key=lambda n: counts[n] - ideal[n])
        for n in room[:missing]:
            counts[n] += 1
    return counts
