"""Tracing: torch-pruning's dependency graph read as groups of units."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch_pruning import DependencyGraph
from torch_pruning.dependency import Group, Node

from sparsebench.errors import UsageError
from sparsebench.scoring import untouched
from sparsebench.structured.units import Member, UnitGroup

_MIXING = ("Bmm", "ScaledDotProduct", "Softmax", "LogSoftmax", "Cumsum")
"""Operations of one channel's value with another's, which the graph takes for elementwise ones."""

_WIDE = (nn.LayerNorm, nn.GroupNorm)


Named = tuple[str, UnitGroup | str]
"""The first filter of a group, and the group or the reason why it cannot be pruned."""


def traced_groups(model: nn.Module, x: Tensor) -> dict[str, UnitGroup | str]:
    """Every group of the graph by its first filter; in place of one that cannot be pruned, the reason.

    Raises:
        UsageError: torch-pruning cannot trace the network.
    """
    order = {name: i for i, (name, _) in enumerate(model.named_parameters(remove_duplicate=False))}
    paths = {id(thing): path for path, thing in (*model.named_modules(), *model.named_parameters())}
    x = x.to(next(model.parameters()).device)
    with untouched(model, train=False), _all_trainable(model):
        try:
            # With a forward function, or it would first try each example of the batch as an argument.
            graph = DependencyGraph().build_dependency(model, x, forward_fn=lambda m, x: m(x), verbose=False)
            refused = _refused(graph, paths)
            found = list(graph.get_all_groups())
        except Exception as error:
            raise UsageError(
                f"{type(model).__name__} cannot be traced by torch-pruning ({type(error).__name__}: {error}): "
                "prune it by single weights"
            ) from error
    groups: dict[str, UnitGroup | str] = {}
    for items in found:
        name, group = _translate(items, graph, refused, paths, order)
        if name in groups and not isinstance(group, str):
            group = "is tied to other filters in part"
        groups[name] = group
    return groups


def _refused(graph: DependencyGraph, paths: dict[int, str]) -> dict[Node, str]:
    """The nodes that exclude every group that reaches them, and why; no group is followed beyond one.

    Beyond them the graph's indices mean nothing, and through attention in windows they multiply without end.
    """
    reasons = {node: _refusal(node, paths.get(id(node.module))) for node in graph.module2node.values()}
    refused = {node: reason for node, reason in reasons.items() if reason}
    for node in refused:
        node.dependencies.clear()
    return refused


@contextmanager
def _all_trainable(model: nn.Module) -> Iterator[None]:
    """The graph is read from autograd, which does not record frozen layers."""
    frozen = [p for p in model.parameters() if not p.requires_grad and p.is_floating_point()]
    for p in frozen:
        p.requires_grad_(True)
    try:
        yield
    finally:
        for p in frozen:
            p.requires_grad_(False)


def _translate(
    items: Group, graph: DependencyGraph, refused: dict[Node, str], paths: dict[int, str], order: dict[str, int]
) -> Named:
    """One group of the graph and its name: its members by role, or the reason why it is left out."""
    size = len(items[0].idxs)
    members: list[Member] = []
    gates: list[tuple[Member, ...]] = []
    reasons: list[str] = []
    for item in items:
        node, module = item.dep.target, item.dep.target.module
        outputs = graph.is_out_channel_pruning_fn(item.dep.handler)
        path = paths.get(id(module))
        reason = refused.get(node)
        if outputs and not node.outputs:
            reason = "reaches the output of the network"
        index = _by_unit(item.idxs, item.root_idxs, size)
        if reason:
            reasons.append(reason)
        elif index is None and path is not None:
            reasons.append(f"reaches {path} with only some of its units")
        if path is None or index is None:
            continue
        found = _members(path, module, outputs, index)
        members += found
        if any(member.role == "filter" for member in found):
            gates.append(tuple(_gate(node, paths, index) or found))
    name = min((m.name for m in members if m.role == "filter"), key=order.__getitem__)
    return name, reasons[0] if reasons else UnitGroup(name, tuple(members), tuple(gates))


def _by_unit(entries: list[int], units: list[int], size: int) -> Tensor | None:
    """[units, width] from the entries and the unit of each; None unless all units own equally many."""
    owned: list[list[int]] = [[] for _ in range(size)]
    for entry, unit in zip(entries, units, strict=True):
        owned[unit].append(entry)
    return torch.tensor(owned) if len({len(o) for o in owned}) == 1 and owned[0] else None


def _refusal(node: Node, path: str | None) -> str | None:
    """Why a group that reaches this node cannot be pruned."""
    module, kind = node.module, type(node.module).__name__
    if isinstance(module, _WIDE):
        return f"passes {path} ({kind}), which over fewer features is another function"
    if isinstance(module, nn.Parameter):
        return f"is tied to {path}, a parameter of no layer that could shrink"
    if isinstance(module, nn.MultiheadAttention | nn.Embedding | nn.RNNBase):
        return f"touches {path} ({kind}), which stays as wide as it is"
    if isinstance(module, _ConvNd) and module.groups > 1 and not _depthwise(module):
        return f"touches {path}, a grouped convolution"
    operation = str(getattr(module, "_grad_fn", ""))
    if operation.startswith(_MIXING):
        return f"passes {operation}, which mixes channels"
    return None


def _depthwise(module: nn.Module) -> bool:
    return isinstance(module, _ConvNd) and 1 < module.groups == module.in_channels == module.out_channels


def _members(path: str, module: nn.Module, outputs: bool, index: Tensor) -> list[Member]:
    """What the units own in one module."""
    if isinstance(module, _NormBase):
        roles = {"weight": "norm", "bias": "vector", "running_mean": "buffer", "running_var": "buffer"}
    elif isinstance(module, nn.PReLU):
        roles = {"weight": "vector"} if module.num_parameters > 1 else {}
    elif isinstance(module, nn.Linear | _ConvNd):
        roles = {"weight": "filter", "bias": "vector"} if outputs or _depthwise(module) else {"weight": "input"}
    else:
        roles = {}
    flipped = isinstance(module, _ConvTransposeNd) and not _depthwise(module)
    return [
        Member(
            name=f"{path}.{leaf}" if path else leaf,
            dim=int((role == "input") != flipped) if role in ("filter", "input") else 0,
            index=index,
            role=role,
        )
        for leaf, role in roles.items()
        if getattr(module, leaf) is not None
    ]


def _gate(node: Node, paths: dict[int, str], index: Tensor) -> list[Member]:
    """Scale and shift of the batch norm that alone reads this layer, if there is one."""
    readers = {reader.module for reader in node.outputs}
    norm = readers.pop() if len(readers) == 1 else None
    if not isinstance(norm, _NormBase) or norm.weight is None:
        return []
    return [member for member in _members(paths[id(norm)], norm, True, index) if member.role != "buffer"]
