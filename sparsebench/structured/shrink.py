"""Shrink: masked units are cut out of every tensor, and what is left is a smaller network with the same outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.scoring import untouched
from sparsebench.structured.groups import inputs_of, unit_groups
from sparsebench.structured.products import Kept, Sides, kept_sides, kept_units, unit_masks
from sparsebench.structured.units import Member, UnitGroup

_TOLERANCE = 1e-2
"""Of the largest output; a wrong dependency changes outputs by their own size, reduced precision by far less."""


def shrink(model: nn.Module, masks: Masks, example: Any) -> None:
    """Remove the masked units of a dense network in place.

    Nothing but the masks decides what goes, so a freshly built network becomes, with a stored mask file, the one whose
    ``state_dict`` was stored: its keys stay, its shapes shrink. Cut parameters are new objects without a gradient: make
    the optimiser afterwards.

    Args:
        masks: of structured pruning, in dense coordinates.
        example: one input batch, to find the groups and to compare the outputs before and after.

    Raises:
        UsageError: the masks are not of whole units of this network, or the outputs differ.
    """
    groups = unit_groups(model, example)
    kept = kept_units(model, groups, masks)
    masks.apply(model)
    check_outputs(model, groups, kept, example)
    _cut(model, kept_sides(_tensors(model), groups, kept), groups, kept, [])


def units_of(model: nn.Module, masks: Masks, example: Any) -> dict[str, Tensor]:
    """Which units masks keep: group name -> bool vector; for a dense network and masks in dense coordinates.

    Raises:
        UsageError: the masks are not of whole units of this network.
    """
    return kept_units(model, unit_groups(model, example), masks)


@contextmanager
def shrunk(model: nn.Module, groups: Sequence[UnitGroup], kept: Kept) -> Iterator[list[UnitGroup]]:
    """Run a block on the shrunk network, with its groups, and put the dense one back."""
    sides = kept_sides(_tensors(model), groups, kept)
    changes: list[tuple[dict, str, Any]] = []
    try:
        _cut(model, sides, groups, kept, changes)
        yield [_renumbered(group, sides, kept[group.name]) for group in groups]
    finally:
        for store, key, value in reversed(changes):
            store[key] = value


def check_outputs(model: nn.Module, groups: Sequence[UnitGroup], kept: Kept, example: Any) -> None:
    """Compare the masked with the shrunk network on the example, in evaluation mode.

    Raises:
        UsageError: they differ, so the groups do not describe this network.
    """
    x = inputs_of(example).to(next(model.parameters()).device)
    params, masks = dict(model.named_parameters()), unit_masks(model, groups, kept)
    with untouched(model, train=False), torch.no_grad():
        masked = functional_call(model, {n: params[n].masked_fill(~mask, 0.0) for n, mask in masks.items()}, (x,))
        with shrunk(model, groups, kept):
            small = model(x)
    largest = masked.abs().max()
    if torch.isfinite(largest) and (difference := (masked - small).abs().max()) > _TOLERANCE * largest:
        raise UsageError(
            f"{type(model).__name__}: outputs change by {difference / largest:.1%} when masked units are cut out, so "
            "its dependency graph misses something: prune it by single weights"
        )


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict((*model.named_parameters(), *model.named_buffers()))


def _cut(model: nn.Module, sides: Sides, groups: Sequence[UnitGroup], kept: Kept, changes: list) -> None:
    """Cut the tensors, then the numbers in the modules that repeat their shapes; what was there goes to ``changes``."""
    tensors = _tensors(model)
    for name in {name: None for name, _ in sides}:
        path, _, leaf = name.rpartition(".")
        module, tensor = model.get_submodule(path), tensors[name].detach()
        for dim in range(tensor.dim()):
            if (name, dim) in sides:
                tensor = tensor.index_select(dim, sides[name, dim].nonzero().flatten().to(tensor.device))
        if leaf in module._parameters:
            _set(changes, module._parameters, leaf, nn.Parameter(tensor))
        else:
            _set(changes, module._buffers, leaf, tensor)
        for attribute, value in _sizes(module).items():
            _set(changes, module.__dict__, attribute, value)
    for group in groups:
        if group.attribute:
            path, _, leaf = group.attribute.rpartition(".")
            _set(changes, model.get_submodule(path).__dict__, leaf, int(kept[group.name].sum()))


def _set(changes: list[tuple[dict, str, Any]], store: dict, key: str, value: Any) -> None:
    changes.append((store, key, store[key]))
    store[key] = value


def _sizes(module: nn.Module) -> dict[str, int]:
    """The attributes of a module that repeat the shape of its tensors."""
    if isinstance(module, nn.Linear):
        return dict(zip(("out_features", "in_features"), module.weight.shape, strict=True))
    if isinstance(module, _ConvNd) and module.groups > 1:
        return dict.fromkeys(("out_channels", "in_channels", "groups"), module.weight.shape[0])
    if isinstance(module, _ConvNd):
        names = ("in_channels", "out_channels") if module.transposed else ("out_channels", "in_channels")
        return dict(zip(names, module.weight.shape[:2], strict=True))
    if isinstance(module, _NormBase):
        vector = module.weight if module.weight is not None else module.running_mean
        return {"num_features": len(vector)}
    return {"num_parameters": len(module.weight)} if isinstance(module, nn.PReLU) else {}


def _renumbered(group: UnitGroup, sides: Sides, keep: Tensor) -> UnitGroup:
    """A group of the shrunk network: the units left, with their entries counted anew."""

    def renumber(member: Member) -> Member:
        position = sides[member.name, member.dim].cumsum(0) - 1
        return replace(member, index=position[member.index[keep.cpu()]])

    members = tuple(map(renumber, group.members))
    return replace(group, members=members, gates=tuple(tuple(map(renumber, gate)) for gate in group.gates))
