"""Pruning any ``nn.Module`` with no Lightning at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sparsebench.criteria import split_method
from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.registry import criterion
from sparsebench.scope import Scope, scope_of
from sparsebench.scoring import Loss, on_device, scores
from sparsebench.selection import select


def prune(
    model: nn.Module,
    method: str,
    *,
    sparsity: float,
    data: Iterable | None = None,
    loss: Loss | None = None,
    scope: Scope | None = None,
    masks: Masks | None = None,
    seed: int = 0,
    **arguments: Any,
) -> Masks:
    """Prune a network in place and return its masks.

    Args:
        method: ``criterion`` or ``criterion/allocation``, such as ``"snip"`` or ``"magnitude/erk"``.
        sparsity: removed fraction of all prunable weights, in [0, 1); met exactly.
        masks: masks so far; what they removed stays removed.
        data, loss, scope, seed, arguments: as in ``scores``.

    Raises:
        UsageError: unknown names, an allocation that makes the criterion another one, sparsity out of range,
            data missing, non-finite scores.

    >>> net = nn.Linear(4, 4)
    >>> masks = prune(net, "magnitude", sparsity=0.75)
    >>> masks.kept, int((net.weight != 0).sum())
    (4, 4)
    """
    name, allocation = split_method(method, arguments)
    options = {"data": data, "loss": loss, "scope": scope, "masks": masks, "seed": seed, **arguments}
    masks = next_masks(model, name, sparsity=sparsity, allocation=allocation, **options)
    masks.apply(model)
    return masks


def next_masks(
    model: nn.Module,
    name: str,
    *,
    sparsity: float,
    allocation: str = "global",
    data: Iterable | None = None,
    loss: Loss | None = None,
    scope: Scope | None = None,
    masks: Masks | None = None,
    seed: int = 0,
    notes: list[str] | None = None,
    **arguments: Any,
) -> Masks:
    """Masks at the sparsity asked for, nested in the masks so far.

    A criterion with several rounds (SynFlow) is scored anew after each of them on the network masked so far,
    at densities ``d_0 (d / d_0)^(k/rounds)``; the weights are put back at the end. With a list of ``notes``,
    scores that are not finite are ranked last and noted there in place of an error.
    """
    if not 0 <= sparsity < 1:
        raise UsageError(f"sparsity {sparsity!r} is not in [0, 1): it is the removed fraction of the prunable weights")
    traits = criterion.entry(name).traits
    scope = scope or scope_of(model)
    masks = masks or Masks.dense(model, scope.prunable)
    rounds = traits.get("rounds", 1)
    start, end = masks.density, 1 - sparsity
    if data is not None:
        data = on_device(data, next(iter(scope.prunable.values())).device)
    before = {n: p.detach().clone() for n, p in scope.prunable.items()} if rounds > 1 else {}
    try:
        for k in range(1, rounds + 1):
            density = end if k == rounds else start * (end / start) ** (k / rounds)
            raw = scores(model, name, data, loss=loss, scope=scope, seed=seed, **arguments)
            if notes is not None:
                raw = _rank_last(raw, notes)
            masks = select(raw, density, allocation=allocation, masks=masks, floor=traits.get("floor", 0))
            if k < rounds:
                masks.apply(model)
    finally:
        for n, value in before.items():
            scope.prunable[n].data.copy_(value)
    return masks


def _rank_last(raw: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """NaN and infinite scores become the lowest of their tensor's type."""
    bad = sum(int((~torch.isfinite(score)).sum()) for score in raw.values())
    if not bad:
        return raw
    notes.append("scores not finite")
    return {n: s.where(torch.isfinite(s), torch.finfo(s.dtype).min) for n, s in raw.items()}
