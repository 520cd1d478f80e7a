"""Pruning any ``nn.Module`` with no Lightning at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from sparsebench import scoring
from sparsebench.allocation import LIKE
from sparsebench.batch_norm import reestimate
from sparsebench.budget import Budget
from sparsebench.criteria import default_allocation, is_structured, split_method
from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.registry import criterion, solver
from sparsebench.scope import Scope, scope_of
from sparsebench.scoring import Loss, on_device, untouched
from sparsebench.selection import NonFiniteScore


@dataclass(frozen=True)
class Pruning:
    """What a pruning step came to, before it is applied."""

    masks: Masks
    weights: dict[str, Tensor] = field(default_factory=dict)
    """New values of the weights, from criteria that also change what they keep; empty = as they were."""
    passes: int = 1
    """How often the network was scored; a solver of single weights counts once."""
    found: dict[str, Any] = field(default_factory=dict)
    """What a search noted of itself, for the record."""

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Write the new weights and set the pruned ones to exactly 0."""
        params = dict(model.named_parameters())
        for name, value in self.weights.items():
            params[name].copy_(value)
        self.masks.apply(model)


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
    shrink: bool = True,
    **arguments: Any,
) -> Masks:
    """Prune a network in place and return its masks.

    Args:
        method: ``criterion`` or ``criterion/allocation``, such as ``"snip"``, ``"magnitude/erk"``, ``"wanda/2:4"``.
        sparsity: removed fraction of all prunable weights, in [0, 1); met exactly (patterns and structured criteria
            have exact counts of their own).
        masks: masks so far; what they removed stays removed.
        shrink: for criteria that remove units (``l1``, ``taylor`` ...): take the units out, so that the network is
            smaller (True), or leave zeros in their place. The masks are in the shapes of the network before, and hold
            the units' biases and norm parameters too. Data are needed, if only for the shape of the input.
        data, loss, scope, seed, arguments: as in ``scores``. One-shot criteria (``wanda``, ``sparsegpt``, ``obc``) also
            estimate batch-norm statistics anew on the data.

    Raises:
        UsageError: unknown names, an allocation that makes the criterion another one, sparsity out of range,
            data missing, non-finite scores.

    >>> net = nn.Linear(4, 4)
    >>> masks = prune(net, "magnitude", sparsity=0.75)
    >>> masks.kept, int((net.weight != 0).sum())
    (4, 4)
    """
    name, allocation = split_method(method, arguments)
    data = _listed(data, model)
    options = {"data": data, "loss": loss, "scope": scope, "masks": masks, "seed": seed, **arguments}
    result = pruning(model, name, sparsity=sparsity, allocation=allocation, **options)
    if is_structured(name) and shrink:
        from sparsebench.structured import shrink as take_out

        take_out(model, result.masks, scoring.example(data, model))
    else:
        result.apply(model)
    if data is not None and criterion.entry(name).traits.get("regime") == "oneshot":
        reestimate(model, data, loss or scoring.cross_entropy)
    return result.masks


def scores(
    model: nn.Module,
    name: str,
    data: Iterable | None = None,
    *,
    loss: Loss | None = None,
    scope: Scope | None = None,
    seed: int = 0,
    **arguments: Any,
) -> dict[str, Tensor]:
    """Raw scores, larger = keep: of every prunable weight, or of every unit by a structured criterion.

    Args:
        name: a criterion, see ``sparsebench list methods``.
        data: batches ``(x, y)``; needed by criteria that look at the loss or at activations.
        loss: ``loss(model, batch) -> scalar``, mean over the batch; default cross-entropy.
        seed: of the generator of random criteria; equal seeds give equal scores on all devices and ranks.
        arguments: the criterion's own, such as ``temperature=100``.

    Returns:
        One tensor a prunable parameter, of its shape; or one a group of units, by the name of its first weight.
        The model's weights, buffers, gradients, modes and the random state are as before.

    Raises:
        UsageError: unknown criterion or argument, data missing, a weight the loss does not depend on, or a
            score that has not its weight's shape.

    >>> net = nn.Linear(2, 1, bias=False)
    >>> bool((scores(net, "magnitude")["weight"] == net.weight.abs()).all())
    True
    """
    split_method(name, arguments)
    if not is_structured(name):
        return scoring.weight_scores(model, name, data, loss=loss, scope=scope, seed=seed, **arguments)
    from sparsebench.structured import unit_groups, unit_scores

    _no_scope(name, scope)
    data = _listed(data, model)
    groups = unit_groups(model, scoring.example(data, model))
    return unit_scores(model, groups, name, data, loss=loss, seed=seed, **arguments)


def pruning(
    model: nn.Module,
    name: str,
    *,
    sparsity: float,
    allocation: str | None = None,
    data: Iterable | None = None,
    loss: Loss | None = None,
    scope: Scope | None = None,
    masks: Masks | None = None,
    seed: int = 0,
    invert: bool = False,
    notes: list[str] | None = None,
    **arguments: Any,
) -> Pruning:
    """Masks at the sparsity asked for, nested in the masks so far; the model is left as it was.

    A criterion with several rounds (SynFlow) is scored anew after each of them on the network masked so far,
    at densities ``d_0 (d / d_0)^(k/rounds)``; under N:M, which has no densities between, in one. ``invert`` keeps the
    lowest scores (a control). With a list of ``notes``, scores that are not finite are ranked last and noted there
    in place of an error.
    """
    if not isinstance(sparsity, int | float) or not 0 <= sparsity < 1:
        raise UsageError(f"sparsity {sparsity!r} is not in [0, 1): it is the removed fraction of the prunable weights")
    allocation, data = allocation or default_allocation(name), _listed(data, model)
    options = {"data": data, "loss": loss, "seed": seed, **arguments}
    if is_structured(name):
        from sparsebench.structured import structured_pruning

        _no_scope(name, scope)
        options |= {"allocation": allocation, "masks": masks, "notes": notes}
        units = structured_pruning(model, scoring.example(data, model), name, 1 - sparsity, **options)
        return Pruning(units.masks, passes=units.passes, found=units.found)
    scope = scope or scope_of(model)
    counts, passes = None, 0
    with restored(scope):
        if masks is not None:
            masks.apply(model)
        masks = masks or Masks.dense(model, scope.prunable)
        if allocation.startswith(LIKE):
            shared = {"data": data, "loss": loss, "seed": seed, "scope": scope, "masks": masks, "notes": notes}
            other = pruning(model, allocation.removeprefix(LIKE), sparsity=sparsity, **shared)
            counts, passes, allocation = other.masks.counts, other.passes, "global"
        traits = criterion.entry(name).traits
        budget = Budget(1 - sparsity, allocation, masks, traits.get("floor", 0), counts)
        if name in solver.entries:
            _no_inversion(name, invert)
            return _solved(model, name, budget, scope, data, loss, arguments, notes)
        rounds = 1 if budget.n_of_m else traits.get("rounds", 1)
        start, end = masks.density, 1 - sparsity
        for k in range(1, rounds + 1):
            density = end if k == rounds else start * (end / start) ** (k / rounds)
            raw = scoring.weight_scores(model, name, scope=scope, **options)
            raw = {n: -s for n, s in raw.items()} if invert else raw
            budget = replace(budget, density=density, masks=masks)
            masks = budget.select(raw if notes is None else _rank_last(raw, notes))
            if k < rounds:
                masks.apply(model)
    return Pruning(masks, passes=rounds + passes)


def _solved(
    model: nn.Module,
    name: str,
    budget: Budget,
    scope: Scope,
    data: list | None,
    loss: Loss | None,
    arguments: dict[str, Any],
    notes: list[str] | None,
) -> Pruning:
    """What a solver makes of a network; of one whose numbers are not finite, with ``notes``, the first weights."""
    batches = scoring.needed(name, data)
    try:
        with untouched(model, train=criterion.entry(name).traits.get("mode") == "train"):
            masks, weights = solver.get(name)(
                model, scope.prunable, batches, loss or scoring.cross_entropy, budget, **arguments
            )
        if all(torch.isfinite(w).all() for w in weights.values()):
            return Pruning(masks, {n: w.clone() for n, w in weights.items()})
        raise NonFiniteScore(f"{name}: new weights are not finite")
    except (NonFiniteScore, torch.linalg.LinAlgError) as error:
        if notes is None and isinstance(error, NonFiniteScore):
            raise
        if notes is None:
            raise NonFiniteScore(f"{name} cannot be solved, its numbers are not finite or overflow: {error}") from error
        notes.append("scores not finite")
        return Pruning(budget.select({n: torch.zeros_like(p) for n, p in scope.prunable.items()}))


def _no_scope(name: str, scope: Scope | None) -> None:
    if scope is not None:
        raise UsageError(f"{name} removes units of the whole network; a scope is for criteria of single weights")


def _listed(data: Iterable | None, model: nn.Module) -> list | None:
    """Batches on the model's device; a list, since an iterator would be used up by the first of several readers."""
    return None if data is None else on_device(data, next(model.parameters()).device)


@contextmanager
def restored(scope: Scope) -> Iterator[None]:
    """Run a block and put the prunable weights back afterwards."""
    before = {n: p.detach().clone() for n, p in scope.prunable.items()}
    try:
        yield
    finally:
        for n, value in before.items():
            scope.prunable[n].data.copy_(value)


def _no_inversion(name: str, invert: bool) -> None:
    if invert:
        raise UsageError(
            f"{name} fits the weights it keeps, so its ranking cannot be inverted; invert a plain criterion"
        )


def _rank_last(raw: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """NaN and infinite scores become the lowest of their tensor's type."""
    bad = sum(int((~torch.isfinite(score)).sum()) for score in raw.values())
    if not bad:
        return raw
    notes.append("scores not finite")
    return {n: s.where(torch.isfinite(s), torch.finfo(s.dtype).min) for n, s in raw.items()}
