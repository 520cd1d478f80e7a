"""Allocation: how one global density becomes per-layer counts.

An allocation maps the shapes of the prunable tensors ``{name: (n_out, n_in, kh, kw)}`` and a density in
(0, 1] to a density for each tensor, or to None for one global ranking. ``layer_counts`` turns densities
into whole numbers whose sum is exactly ``round(density * total)``. A rule may be joined by a pattern:

    RULE, N:M, blockRxC, RULE/blockRxC, like:CRITERION
"""

from __future__ import annotations

from math import floor, prod

from sparsebench.errors import UsageError
from sparsebench.patterns import NM, Pattern, pattern_of
from sparsebench.registry import Registry

Shapes = dict[str, tuple[int, ...]]

allocation = Registry("allocation", "sparsebench.allocation", "sparsebench list methods")

LIKE = "like:"
"""Prefix of the allocation that gives each tensor the count another criterion's global ranking would."""


def split_allocation(text: str) -> tuple[str, Pattern | None]:
    """An allocation as (rule, pattern).

    Raises:
        UsageError: an unknown name, or a rule before N:M, which fixes every count itself.

    >>> split_allocation("erk"), split_allocation("2:4")
    (('erk', None), ('global', NM(n=2, m=4)))
    >>> split_allocation("uniform/block4x4")
    ('uniform', Block(rows=4, columns=4))
    """
    first, _, second = text.partition("/")
    if pattern := pattern_of(first):
        if second:
            raise UsageError(f"allocation {text!r}: write the rule before the pattern, such as uniform/block4x4")
        return "global", pattern
    if first.startswith(LIKE) and not second:
        return first, None
    allocation.entry(first)
    pattern = pattern_of(second)
    if second and pattern is None:
        raise UsageError(f"allocation {text!r}: {second!r} is no pattern; patterns are N:M and blockRxC, as block4x4")
    if isinstance(pattern, NM) or (pattern and first == "row"):
        raise UsageError(f"allocation {text!r}: {second} fixes the count of every row itself; write {second!r} alone")
    return first, pattern


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
def row(shapes: Shapes, density: float) -> dict[str, float]:
    """The same density in every row (output unit) of every tensor.

    Row counts differ by at most one. Source: Wanda, Sun et al. 2024, arXiv:2306.11695.

    >>> row({"a": (10, 10), "b": (2, 2)}, 0.25)
    {'a': 0.25, 'b': 0.25}
    """
    return dict.fromkeys(shapes, density)


@allocation(name="uniform+")
def uniform_plus(shapes: Shapes, density: float) -> dict[str, float]:
    """First convolution dense, last linear layer at 20 % or more, one density for the rest.

    Source: Gale et al. 2019, arXiv:1902.09574 (section 4).

    Raises:
        UsageError: what is protected is more than the density leaves.

    >>> densities = uniform_plus({"conv": (2, 1, 2, 2), "mid": (20, 10), "last": (4, 10)}, 0.1)
    >>> {n: round(d, 3) for n, d in densities.items()}
    {'conv': 1.0, 'mid': 0.044, 'last': 0.2}
    """
    sizes = {n: prod(s) for n, s in shapes.items()}
    target = density * sum(sizes.values())
    first = next((n for n, s in shapes.items() if len(s) > 2), None)
    last = next((n for n, s in reversed(shapes.items()) if len(s) == 2 and n != first), None)
    fixed = {first: 1.0} if first else {}
    if last and (target - sizes.get(first, 0)) / (sum(sizes.values()) - sizes.get(first, 0)) < 0.2:
        fixed[last] = 0.2
    left = target - sum(d * sizes[n] for n, d in fixed.items())
    rest = sum(size for n, size in sizes.items() if n not in fixed)
    if left < 0 or (rest == 0 and left > 0):
        raise UsageError(
            f"uniform+ keeps the first convolution and a fifth of the last linear layer, {target - left:g} weights; "
            f"density {density:g} leaves {target:g}: prune less, or take uniform or erk"
        )
    return {n: fixed.get(n, left / rest if rest else 1.0) for n in shapes}


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
