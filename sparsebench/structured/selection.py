"""Selection of units: the fewest whose removal reaches a density, in the order of their scores."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import floor
from typing import Any

import torch
from torch import Tensor, nn

from sparsebench.allocation import kept_count
from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.registry import criterion, solver
from sparsebench.scope import scope_of
from sparsebench.scoring import Loss, cross_entropy, on_device
from sparsebench.selection import NonFiniteScore
from sparsebench.structured.groups import unit_groups
from sparsebench.structured.products import WeightCount, compose, kept_units, structured_count, unit_masks
from sparsebench.structured.scores import Scores, unit_scores
from sparsebench.structured.search import Searched, UnitBudget
from sparsebench.structured.shrink import check_outputs, shrunk

ALLOCATIONS = ("global", "uniform")


@dataclass(frozen=True)
class UnitPruning:
    """Masks in dense coordinates, and how they were come by."""

    masks: Masks
    passes: int = 1
    """How often the network, or a part of it, was scored."""
    found: dict[str, Any] = field(default_factory=dict)
    """What a search noted of itself."""


def structured_masks(
    model: nn.Module,
    example: Any,
    name: str,
    density: float,
    *,
    allocation: str | None = None,
    data: Iterable | None = None,
    loss: Loss | None = None,
    masks: Masks | None = None,
    seed: int = 0,
    notes: list[str] | None = None,
    **arguments: Any,
) -> Masks:
    """Masks that remove the fewest units so that at most ``round(density * prunable)`` weights are kept.

    Kept are the prunable weights of the shrunk network: a weight goes with its filter or with an input of it. Units go
    in the order of their scores, those that score highest in their group never. The model is not changed.

    Args:
        model: dense, or masked by ``masks``; not shrunk.
        example: one input batch, to find the groups.
        name: a criterion for units, such as ``"l1"``.
        density: fraction of the dense network's prunable weights, in (0, 1].
        allocation: ``"global"`` (one ranking; scores of criteria with the trait ``per_layer`` are divided by their
            mean over the group), ``"uniform"`` (every group keeps the same share of its units) or None, the
            criterion's own.
        data, loss, seed, arguments: as in ``unit_scores``.
        masks: masks so far, in dense coordinates. Scores are those of the network they leave, new masks are nested.
        notes: if given, scores that are not finite are ranked last and noted there in place of an error.

    Returns:
        Masks in dense coordinates of all prunable weights and of the biases and norm parameters of the units.

    Raises:
        NonFiniteScore: a score is NaN or infinite and no ``notes`` are given.
        UsageError: unknown criterion or allocation, density out of range or below what one unit in every group keeps.
    """
    options = {"allocation": allocation, "data": data, "loss": loss, "masks": masks, "seed": seed, "notes": notes}
    return structured_pruning(model, example, name, density, **options, **arguments).masks


def structured_pruning(
    model: nn.Module,
    example: Any,
    name: str,
    density: float,
    *,
    allocation: str | None = None,
    data: Iterable | None = None,
    loss: Loss | None = None,
    masks: Masks | None = None,
    seed: int = 0,
    notes: list[str] | None = None,
    **arguments: Any,
) -> UnitPruning:
    """As ``structured_masks``, with how often the network was scored and what a search found on its way.

    A criterion with a ``@solver`` of its name chooses the units itself: ``f(budget, **arguments) -> Searched``, where
    ``budget.select`` turns scores into units by the same rule.
    """
    if not 0 < density <= 1:
        raise UsageError(f"density {density} is not in (0, 1]: sparsity must be in [0, 1)")
    traits = criterion.entry(name).traits
    allocation = allocation or traits.get("allocation", "global")
    if allocation not in ALLOCATIONS:
        raise UsageError(f"{name}/{allocation}: units are removed under global or uniform, not {allocation!r}")
    groups = unit_groups(model, example)
    size = scope_of(model).size
    everything = {group.name: torch.ones(group.size, dtype=torch.bool) for group in groups}
    so_far = everything if masks is None else kept_units(model, groups, masks)
    with shrunk(model, groups, so_far) as left:
        count, rank = WeightCount(scope_of(model), left), partial(_RANKINGS[allocation], traits.get("per_layer", False))

        def select(scores: Scores) -> dict[str, Tensor]:
            return select_units(rank(scores), count, kept_count(density, size), size)

        if name in solver.entries:
            batches = [] if data is None else on_device(data, next(model.parameters()).device)
            budget = UnitBudget(model, left, batches, loss or cross_entropy, seed, select, notes)
            units = solver.get(name)(budget, **arguments)
        else:
            scores = unit_scores(model, left, name, data, loss, seed, **arguments)
            units = Searched(select({n: _finite(s, n, notes) for n, s in scores.items()}), 1)
        chosen = unit_masks(model, left, units.kept)
    chosen = chosen if masks is None else compose(masks, chosen)
    check_outputs(model, groups, kept_units(model, groups, chosen), example)
    return UnitPruning(chosen, units.passes, units.found)


def select_units(priority: Scores, count: WeightCount, target: int, size: int) -> dict[str, Tensor]:
    """Remove units of the lowest priority until at most ``target`` weights are kept; each group keeps its first.

    Among equals the first group's stay longest, in it the lowest index. ``size``, the number of prunable weights of
    the dense network, is for the message.

    Raises:
        UsageError: one unit in every group keeps more than that.
    """
    names = list(priority)
    best = [int(p.argmax()) for p in priority.values()]
    flat = torch.cat([p.double().cpu() for p in priority.values()])
    owner = torch.repeat_interleave(torch.arange(len(names)), torch.tensor([len(p) for p in priority.values()]))
    starts = torch.tensor([0, *(len(p) for p in priority.values())]).cumsum(0)
    order = flat.argsort(descending=True, stable=True).flip(0)
    order = order[~torch.isin(order, starts[:-1] + torch.tensor(best))]

    def kept_after(removed: int) -> int:
        return count(torch.bincount(owner[order[:removed]], minlength=len(names)).tolist())

    removed = bisect_left(range(len(order)), True, key=lambda r: kept_after(r) <= target)
    if kept_after(removed) > target:
        least = kept_after(len(order))
        raise UsageError(
            f"at most {target} of {size} weights are asked for, but one unit in every group keeps {least}: the "
            f"highest sparsity that whole units reach here is {floor(1e4 * (1 - least / size)) / 1e4:.4f}"
        )
    keep = torch.ones(len(flat), dtype=torch.bool)
    keep[order[:removed]] = False
    return dict(zip(names, keep.split([len(p) for p in priority.values()]), strict=True))


def _one_ranking(per_layer: bool, scores: Scores) -> Scores:
    """The scores themselves, or divided by their mean over the group where they depend on the layer's scale."""
    if not per_layer:
        return scores
    return {n: s / s.mean() if s.mean() > 0 else s for n, s in scores.items()}


def _same_share(_, scores: Scores) -> Scores:
    """Ranks as a share of the group's size: a common threshold keeps the same share of every group."""
    return {n: _shares(s) for n, s in scores.items()}


def _shares(scores: Tensor) -> Tensor:
    """From the best unit to the worst: 1 - 1/(2n), 1 - 3/(2n), ..., 1/(2n).

    >>> _shares(torch.tensor([5.0, 7.0]))
    tensor([0.2500, 0.7500], dtype=torch.float64)
    """
    n = len(scores)
    order = scores.argsort(descending=True, stable=True)
    steps = torch.arange(2 * n - 1, 0, -2, dtype=torch.float64, device=scores.device) / (2 * n)
    return torch.empty_like(steps).scatter_(0, order, steps)


_RANKINGS = {"global": _one_ranking, "uniform": _same_share}


def _finite(scores: Tensor, name: str, notes: list[str] | None) -> Tensor:
    good = torch.isfinite(scores)
    if good.all():
        return scores
    if notes is None:
        raise NonFiniteScore(f"scores of {name!r} are not finite; the criterion overflowed or met NaN weights")
    if "scores not finite" not in notes:
        notes.append("scores not finite")
    return scores.where(good, torch.finfo(scores.dtype).min)


def misses(model: nn.Module, masks: Masks, example: Any, density: float) -> str | None:
    """Why masks are not an exact structured pruning of this dense network to a density; None if they are.

    They must choose whole units, keep a unit in every group and at most ``round(density * prunable)`` weights, and with
    some one unit put back they must keep more.
    """
    scope, groups = scope_of(model), unit_groups(model, example)
    target = kept_count(density, scope.size)
    try:
        kept, weights = kept_units(model, groups, masks), structured_count(masks, scope)
    except UsageError as error:
        return str(error)
    removed = [int((~kept[group.name]).sum()) for group in groups]
    if any(gone == group.size for gone, group in zip(removed, groups, strict=True)):
        return "a group has no unit left"
    if weights > target:
        return f"{weights} weights are kept, more than {target}"
    return None if _tight(WeightCount(scope, groups), removed, target) else f"{weights} weights of {target}: too few"


def _tight(count: WeightCount, removed: Sequence[int], target: int) -> bool:
    """Whether nothing is removed, or some one unit put back keeps more than the target."""
    back = [[k - (i == g) for i, k in enumerate(removed)] for g, gone in enumerate(removed) if gone]
    return not back or any(count(fewer) > target for fewer in back)
