"""Groups: the units of a network and every tensor entry that goes with each of them.

Never pruned are the network's outputs (the classifier's rows), its input channels, and widths that cannot shrink
without changing the function, such as the residual width of a transformer: a layer norm over fewer features is
another function. ``units_left_out`` gives the reason for each.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from sparsebench.errors import UsageError
from sparsebench.scope import scope_of
from sparsebench.structured.heads import head_groups
from sparsebench.structured.tracing import traced_groups
from sparsebench.structured.units import UnitGroup


def unit_groups(model: nn.Module, example: Any) -> list[UnitGroup]:
    """The groups of removable units, in the order of their first filters.

    Args:
        example: one input batch of any size (or a pair of it and its labels); it is run through the model once.

    Raises:
        UsageError: the network cannot be traced, or none of its units can be removed.

    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> unit_groups(net, torch.randn(1, 4))
    [UnitGroup('0.weight', 3 units, 3 members)]
    """
    groups, left_out = _sorted_out(model, example)
    if not groups:
        reasons = "; ".join(f"{name} {reason}" for name, reason in left_out.items())
        raise UsageError(f"{type(model).__name__} has no unit that could be removed ({reasons or 'no layers'})")
    return groups


def units_left_out(model: nn.Module, example: Any) -> dict[str, str]:
    """First filter of every group that is never pruned, and the reason.

    >>> units_left_out(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.randn(1, 4))
    {'2.weight': 'reaches the output of the network'}
    """
    return _sorted_out(model, example)[1]


def inputs_of(example: Any) -> Tensor:
    """At most four of a batch's inputs: enough to trace a network and to compare two.

    Raises:
        UsageError: the example is neither a tensor nor a pair that starts with one.
    """
    first = example[0] if isinstance(example, list | tuple) and example else example
    if not isinstance(first, Tensor):
        raise UsageError(f"the example is a {type(example).__name__}, not one batch of inputs (a tensor)")
    return first[:4]


def _sorted_out(model: nn.Module, example: Any) -> tuple[list[UnitGroup], dict[str, str]]:
    """The groups that can be pruned, and the reasons for the others."""
    heads = {group.name: group for group in head_groups(model)}
    # What the graph says of the rows of an attention whose heads are units is not used.
    found = {**traced_groups(model, inputs_of(example)), **heads}
    order = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    refuse = _Refusals(model)
    groups: list[UnitGroup] = []
    left_out: dict[str, str] = {}
    for name in sorted(found, key=order.index):
        group = found[name]
        reason = group if isinstance(group, str) else refuse(group)
        if reason:
            left_out[name] = reason
        else:
            groups.append(group)
    return groups, left_out


class _Refusals:
    """Why a group's tensors may not be cut: shared, frozen, out of scope, or already cut by another group."""

    def __init__(self, model: nn.Module) -> None:
        self.params = dict(model.named_parameters(remove_duplicate=False))
        self.uses = Counter(map(id, self.params.values()))
        self.prunable = scope_of(model).prunable
        self.taken: dict[tuple[str, int], Tensor] = {}

    def __call__(self, group: UnitGroup) -> str | None:
        """The reason, or None; then the group's entries are taken."""
        members = [member for member in group.members if member.role != "buffer"]
        for member in members:
            param = self.params[member.name]
            if self.uses[id(param)] > 1:
                return f"touches {member.name}, which two layers share"
            if not param.requires_grad:
                return f"touches {member.name}, which is frozen"
            if member.role in ("filter", "input") and member.name not in self.prunable:
                return f"touches {member.name}, which is not prunable"
            length = param.shape[member.dim]
            if int(member.index.max()) >= length:
                return f"cannot be followed to {member.name}"
            taken = self.taken.setdefault((member.name, member.dim), torch.zeros(length, dtype=torch.bool))
            if taken[member.index].any():
                return f"shares entries of {member.name} with another group"
        for member in members:
            self.taken[member.name, member.dim][member.index] = True
        return None
