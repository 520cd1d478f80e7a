"""Scores of units: hands a criterion the rows of each filter and combines what ties together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sparsebench.errors import UsageError
from sparsebench.registry import criterion
from sparsebench.scoring import Loss, cross_entropy, mean_gradients, on_device, untouched
from sparsebench.structured.units import Member, UnitGroup

Scores = dict[str, Tensor]
"""Group name -> one score a unit, larger = keep."""


def unit_scores(
    model: nn.Module,
    groups: Sequence[UnitGroup],
    name: str,
    data: Iterable | None = None,
    loss: Loss | None = None,
    seed: int = 0,
    **arguments: Any,
) -> Scores:
    """Raw scores of every unit; where several layers compute a unit, the mean of theirs (our choice).

    What the criterion is given depends on its ``needs``:

    | needs | signature, for each layer that computes the units |
    | --- | --- |
    | ``weight`` | ``f(rows) -> [units]``, rows [units, fan-in] |
    | ``norm`` | ``f(gamma) -> [units]``, the scale of the batch norm |
    | ``random`` | ``f(rows, generator) -> [units]``, once a group |
    | ``gradient`` | ``f(rows, grad_rows) -> [units]``, once a mini-batch and summed; rows of the gate's parameters |

    A gate is a factor on the layer's output after its batch norm. The output is linear in the norm's scale and shift
    (without a batch norm: in the filter and its bias; for a head: in the rows of its values), so the sum of
    ``theta * dL/dtheta`` over those is the derivative by the gate. The gradient of a mini-batch is averaged over its
    examples and over ranks.

    Raises:
        UsageError: the criterion scores single weights, an unknown argument, data missing, or a group without a
            batch norm for a criterion that needs one.
    """
    entry = criterion.entry(name)
    needs = entry.traits.get("needs", "weight")
    if entry.traits.get("structure") != "units":
        raise UsageError(f"criterion {name!r} scores single weights, not filters, neurons and heads: use l1 for units")
    if needs not in _NEEDS:
        raise UsageError(f"criterion {name!r}: needs={needs!r} is not one of {', '.join(_NEEDS)} for units")
    if needs == "gradient" and data is None:
        raise UsageError(f"criterion {name!r} needs data: pass data=batches of (inputs, labels)")
    for argument in arguments:
        if argument not in entry.params:
            known = ", ".join(entry.params) or "none"
            raise UsageError(f"criterion {name!r} has no argument {argument!r} (its arguments: {known})")
    score = partial(criterion.get(name), **arguments)
    with untouched(model, train=entry.traits.get("mode") == "train"):
        batches = [] if data is None else on_device(data, next(model.parameters()).device)
        return _NEEDS[needs](score, model, groups, batches, loss or cross_entropy, seed)


def _by_weight(score: Callable, model: nn.Module, groups: Sequence[UnitGroup], *_) -> Scores:
    params = _values(model)
    return {g.name: _mean(score(m.rows(params[m.name])) for m in g.of("filter")) for g in groups}


def _by_norm(score: Callable, model: nn.Module, groups: Sequence[UnitGroup], *_) -> Scores:
    params = _values(model)
    without = [g.name for g in groups if not g.of("norm")]
    if without:
        raise UsageError(
            f"no batch norm scales the units of {', '.join(without)}: this criterion needs one behind every filter; "
            "use l1 or taylor"
        )
    return {g.name: _mean(score(m.rows(params[m.name]).flatten()) for m in g.of("norm")) for g in groups}


def _at_random(score: Callable, model: nn.Module, groups: Sequence[UnitGroup], _, __, seed: int) -> Scores:
    params = _values(model)
    generator = torch.Generator().manual_seed(seed)
    # One draw a group: the mean of several would make tied units less random than others.
    first = {g.name: g.of("filter")[0] for g in groups}
    return {name: score(m.rows(params[m.name]), generator) for name, m in first.items()}


def _by_gradient(
    score: Callable, model: nn.Module, groups: Sequence[UnitGroup], batches: list, loss: Loss, _
) -> Scores:
    params = dict(model.named_parameters())
    gated = {m.name: params[m.name] for g in groups for gate in g.gates for m in gate}
    values = {n: p.detach() for n, p in gated.items()}
    total: Scores = {}
    if not batches:
        raise UsageError("no batches to score on: data is empty (a generator that was used up?)")
    for batch in batches:
        grads = mean_gradients(model, gated, [batch], loss)
        for g in groups:
            part = _mean(score(_rows(gate, values), _rows(gate, grads)) for gate in g.gates)
            total[g.name] = total[g.name] + part if g.name in total else part
    return total


_NEEDS = {"weight": _by_weight, "norm": _by_norm, "random": _at_random, "gradient": _by_gradient}


def _values(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in model.named_parameters()}


def _rows(gate: tuple[Member, ...], tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat([member.rows(tensors[member.name]) for member in gate], dim=1)


def _mean(parts: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(parts)).mean(0)
