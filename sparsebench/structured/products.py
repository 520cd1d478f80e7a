"""Products: masks that come from choices of units, and what they keep.

The mask of a weight is the product of its kept outputs and its kept inputs, so the number of kept weights follows from
the number of kept units alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn

from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.scope import Scope, scope_of
from sparsebench.structured.units import Member, UnitGroup

Kept = Mapping[str, Tensor]
"""Group name -> bool vector over its units, True = kept."""

Sides = dict[tuple[str, int], Tensor]
"""(Tensor name, dimension) -> bool vector, which entries along the dimension are kept."""


def unit_masks(model: nn.Module, groups: Sequence[UnitGroup], kept: Kept) -> Masks:
    """Masks of all prunable weights and of every bias and norm parameter the groups touch, in model order."""
    params = dict(model.named_parameters())
    sides = kept_sides(params, groups, kept)
    names = set(scope_of(model).prunable) | {name for name, _ in sides if name in params}
    return Masks({name: _product(params[name], name, sides) for name in params if name in names})


def kept_sides(tensors: Mapping[str, Tensor], groups: Sequence[UnitGroup], kept: Kept) -> dict[tuple[str, int], Tensor]:
    """For each of the tensors and each of its dimensions that the groups cut, which entries stay."""
    sides: Sides = {}
    for group in groups:
        gone = ~kept[group.name].cpu()
        for member in group.members:
            if member.name in tensors:
                length = tensors[member.name].shape[member.dim]
                side = sides.setdefault((member.name, member.dim), torch.ones(length, dtype=torch.bool))
                side[member.index[gone]] = False
    return sides


def _product(tensor: Tensor, name: str, sides: Sides) -> Tensor:
    mask = torch.ones_like(tensor, dtype=torch.bool)
    for dim in range(tensor.dim()):
        if (name, dim) in sides:
            side = sides[name, dim].to(tensor.device)
            mask &= side.view(-1, *[1] * (tensor.dim() - dim - 1))
    return mask


def kept_units(model: nn.Module, groups: Sequence[UnitGroup], masks: Masks) -> dict[str, Tensor]:
    """The units that masks keep, the inverse of ``unit_masks``.

    Raises:
        UsageError: the masks belong to another network, or are not those of any choice of units.
    """
    kept = {group.name: _kept(group, masks) for group in groups}
    expected = unit_masks(model, groups, kept)
    for name in {**masks, **expected}:
        ours, theirs = expected.get(name), masks.get(name)
        if ours is None or theirs is None or ours.shape != theirs.shape:
            raise UsageError(f"mask {name!r}: these masks do not belong to the units of {type(model).__name__}")
        if not torch.equal(ours, theirs.to(ours.device)):
            raise UsageError(
                f"mask {name!r} is not a product of whole units: only masks made by structured pruning can be shrunk"
            )
    return kept


def _kept(group: UnitGroup, masks: Masks) -> Tensor:
    """A unit is kept where anything of its first filter is."""
    first: Member = group.of("filter")[0]
    if first.name not in masks or int(first.index.max()) >= masks[first.name].shape[first.dim]:
        raise UsageError(f"mask {first.name!r} is missing or too small: these masks belong to another network")
    return first.rows(masks[first.name]).any(1).cpu()


class WeightCount:
    """Kept prunable weights as a function of the number of units removed from each group."""

    def __init__(self, scope: Scope, groups: Sequence[UnitGroup]) -> None:
        self._shapes = scope.shapes
        self._cuts: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
        for g, group in enumerate(groups):
            for member in group.of("filter", "input"):
                self._cuts[member.name].append((member.dim, g, member.width))

    def __call__(self, removed: Sequence[int]) -> int:
        """Kept weights with ``removed[g]`` units of group g gone."""
        return sum(self._kept(name, list(shape), removed) for name, shape in self._shapes.items())

    def _kept(self, name: str, shape: list[int], removed: Sequence[int]) -> int:
        for dim, g, width in self._cuts[name]:
            shape[dim] -= width * removed[g]
        return prod(shape)


def structured_count(masks: Masks, scope: Scope) -> int:
    """Kept prunable weights of structured masks.

    Raises:
        UsageError: the mask of a weight is not the product of kept outputs and kept inputs.

    >>> net = nn.Linear(3, 2)
    >>> row, column = torch.tensor([True, False]), torch.tensor([True, False, True])
    >>> structured_count(Masks({"weight": row[:, None] & column}), scope_of(net))
    2
    """
    total = 0
    for name in scope.prunable:
        kept = masks[name].nonzero()
        box = prod(len(kept[:, dim].unique()) for dim in range(kept.shape[1]))
        if box != len(kept):
            raise UsageError(f"mask {name!r} keeps {len(kept)} weights that are no product of rows and columns")
        total += len(kept)
    return total


def compose(first: Masks, second: Masks) -> Masks:
    """Masks in dense coordinates from those of the network that ``first`` leaves after shrinking.

    Raises:
        UsageError: ``second`` has not the shapes that ``first`` leaves.

    >>> first, second = torch.tensor([True, False, True]), torch.tensor([False, True])
    >>> compose(Masks({"b": first}), Masks({"b": second}))["b"]
    tensor([False, False,  True])
    """
    counts = first.counts
    for name in {**first, **second}:
        if name not in first or name not in second or second[name].numel() != counts[name]:
            raise UsageError(f"mask {name!r}: the second masks are not of the network that the first ones leave")
    composed = {name: mask.clone() for name, mask in first.items()}
    for name, mask in composed.items():
        mask[first[name]] = second[name].flatten().to(mask.device)
    return Masks(composed)
