"""Narrow: the widest network of a family that is no larger, or no costlier, than a sparse one would be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sparsebench.allocation import kept_count
from sparsebench.errors import UsageError
from sparsebench.metrics.flops import macs
from sparsebench.models import build
from sparsebench.registry import network
from sparsebench.scope import scope_of


@dataclass(frozen=True)
class Narrowed:
    """Network arguments and what they lead to."""

    arguments: dict[str, Any]
    size: int
    allowed: int


def narrowed(
    name: str, arguments: dict[str, Any], input_shape: tuple[int, ...], classes: int, sparsity: float, match: str
) -> Narrowed:
    """The widest network with at most ``round((1 - sparsity) * size)``; ``size`` counts prunable weights or MACs.

    All layers shrink by one factor: the argument that the network's trait ``width`` names.

    Raises:
        UsageError: the network has no such argument, or the narrowest one is too large still.

    >>> narrowed("mlp", {"hidden": (100, 100)}, (1, 8, 8), 10, 0.5, "params").arguments
    {'hidden': (63, 63)}
    """
    entry = None if ":" in name else network.entry(name)
    if entry is None or "width" not in entry.traits:
        raise UsageError(
            f"small_dense: network {name!r} does not say which of its arguments is its width; take another"
        )
    argument = entry.traits["width"]
    values = {**entry.params, **arguments}
    step = values[entry.traits["step"]] if "step" in entry.traits else 1
    unit, measure = measures(input_shape)[match]

    def size(width: Any) -> int:
        return measure(build(name, input_shape, classes, **{**arguments, argument: width}))

    widths = list(_widths(values[argument], step))
    allowed = kept_count(1 - sparsity, size(widths[-1]))
    if (least := size(widths[0])) > allowed:
        raise UsageError(
            f"small_dense at sparsity {sparsity:g}: {allowed} {unit} allowed, but {name} with {argument}={widths[0]} "
            f"has {least} already; ask for less sparsity"
        )
    low, high = 0, len(widths) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if size(widths[middle]) <= allowed else (low, middle - 1)
    return Narrowed({argument: widths[low]}, size(widths[low]), allowed)


def measures(input_shape: tuple[int, ...]) -> dict[str, tuple[str, Callable]]:
    """What two networks can be equal in: its name, and how it is measured."""
    return {
        "params": ("prunable weights", lambda net: scope_of(net).size),
        "flops": ("multiply-accumulates", lambda net: macs(net, input_shape).dense),
    }


def _widths(widest: int | tuple[int, ...], step: int) -> Iterator[int | tuple[int, ...]]:
    """All smaller widths in order, the widest last; several layers keep their proportions.

    >>> list(_widths(8, 4)), list(_widths((4, 2), 1))
    ([4, 8], [(1, 1), (2, 1), (3, 2), (4, 2)])
    """
    if isinstance(widest, int):
        yield from range(step, widest + 1, step)
    else:
        top = max(widest)
        for part in range(1, top + 1):
            yield tuple(max(1, round(width * part / top)) for width in widest)
