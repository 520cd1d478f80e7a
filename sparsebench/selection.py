"""Selection: from scores to masks of an exact size, ties broken by position."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sparsebench.allocation import kept_count, layer_counts, split_allocation
from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.patterns import NM, Block

LEAST_FIT = 0.25
"""The largest share that N:M may leave dense because they do not fit; beyond it its sparsity is a fiction."""


class NonFiniteScore(UsageError):
    """A criterion produced NaN or infinity."""


def top_k(scores: Tensor, k: int) -> Tensor:
    """Bool vector keeping the k largest of a flat tensor; among equals the first.

    Everything above the k-th value is kept and ties fill up in order, which is linear in the number of
    weights where a stable sort is not.

    >>> top_k(torch.tensor([1.0, 3.0, 1.0, 1.0]), 2)
    tensor([ True,  True, False, False])
    """
    n = scores.numel()
    if k <= 0 or k >= n:
        return torch.full((n,), k > 0, dtype=torch.bool, device=scores.device)
    threshold = torch.kthvalue(scores, n - k + 1).values
    keep = scores > threshold
    ties = (scores == threshold).nonzero().flatten()
    keep[ties[: k - int(keep.sum())]] = True
    return keep


def top_k_rows(scores: Tensor, k: Tensor | int) -> Tensor:
    """``[rows, columns]``, keeping the ``k`` largest of each row (or ``k[r]`` of row r); among equals the first.

    >>> top_k_rows(torch.tensor([[1.0, 3.0], [2.0, 2.0]]), torch.tensor([2, 1]))
    tensor([[ True,  True],
            [ True, False]])
    """
    order = scores.sort(dim=1, descending=True, stable=True).indices
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(scores.shape[1], device=scores.device).expand_as(order)
    )
    return rank < (k.to(scores.device)[:, None] if isinstance(k, Tensor) else k)


def select(
    scores: Mapping[str, Tensor],
    density: float,
    *,
    allocation: str = "global",
    masks: Masks | None = None,
    floor: int = 0,
    counts: dict[str, int] | None = None,
) -> Masks:
    """Keep ``round(density * total)`` weights, the largest scores first.

    Args:
        scores: one tensor a prunable parameter, larger = keep.
        density: kept fraction of all prunable weights (not of those still alive).
        allocation: ``global``, a rule that gives each tensor its count, or a pattern, whose count is its own: N:M
            keeps N of every M and leaves tensors it does not fit dense; blocks are kept while they fit the target.
        masks: the masks so far; what they removed stays removed, so masks are nested.
        floor: weights kept in every tensor under a global ranking, whatever their score (a guard against
            emptied layers); under another allocation the counts are the allocation's.
        counts: kept weights of each tensor, in place of the allocation's own.

    Raises:
        NonFiniteScore: a score is NaN or infinite.
        UsageError: more weights are asked for than the masks so far hold, masks of other tensors than the
            scores, a density outside (0, 1] or one that the pattern cannot have.
    """
    if not 0 < density <= 1:
        raise UsageError(f"density {density} is not in (0, 1]: sparsity must be in [0, 1)")
    for name, score in scores.items():
        if not torch.isfinite(score).all():
            raise NonFiniteScore(f"scores of {name!r} are not finite; the criterion overflowed or met NaN weights")
    if masks is not None and set(masks) != set(scores):
        odd = sorted(set(masks) ^ set(scores))
        raise UsageError(f"masks and scores are of different tensors ({', '.join(odd)}): use one scope for both")
    ranked = {n: s if masks is None else s.masked_fill(~masks[n].to(s.device), -torch.inf) for n, s in scores.items()}
    rule, pattern = split_allocation(allocation)
    if isinstance(pattern, NM):
        return _n_of_m(ranked, pattern, density)
    shapes = {n: tuple(s.shape) for n, s in scores.items()}
    if isinstance(pattern, Block):
        return _blocks(ranked, pattern, density, layer_counts(rule, shapes, density), floor)
    total = sum(s.numel() for s in scores.values())
    capacity = masks.counts if masks is not None else {n: s.numel() for n, s in scores.items()}
    target = kept_count(density, total)
    if target > sum(capacity.values()):
        raise UsageError(f"density {density:g} asks for {target} weights, but only {sum(capacity.values())} are left")
    counts = layer_counts(rule, shapes, density, capacity) if counts is None else counts
    if rule == "row":
        return Masks({n: _rows(s, counts[n]) for n, s in ranked.items()})
    if counts is not None:
        return Masks({n: top_k(s.flatten(), counts[n]).view(s.shape) for n, s in ranked.items()})
    flat = torch.cat([_protect(s.flatten(), floor) for s in ranked.values()])
    parts = top_k(flat, target).split([s.numel() for s in ranked.values()])
    return Masks({n: part.view(shapes[n]) for n, part in zip(ranked, parts, strict=True)})


def again(scores: Tensor, like: Tensor, allocation: str) -> Tensor:
    """For one tensor: as many weights as ``like`` keeps, in the same places, by other scores.

    The places are the tensor itself, its rows under ``row``, its groups under N:M, its blocks.

    >>> again(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([True, False, False]), "global")
    tensor([False, False,  True])
    """
    rule, pattern = split_allocation(allocation)
    if isinstance(pattern, NM):
        if not pattern.applies(tuple(like.shape)):
            return like.clone()
        kept = top_k_rows(pattern.groups(scores), pattern.groups(like).sum(1))
        return pattern.ungroup(kept, tuple(like.shape))
    if isinstance(pattern, Block):
        ones = pattern.sums(torch.ones_like(scores))
        best = top_k((pattern.sums(scores) / ones).flatten(), int((pattern.sums(like.float()) > 0).sum()))
        return pattern.spread(best.view(ones.shape), tuple(like.shape))
    if rule == "row":
        return top_k_rows(scores.flatten(1), like.flatten(1).sum(1)).view(like.shape)
    return top_k(scores.flatten(), int(like.sum())).view(like.shape)


def _protect(scores: Tensor, floor: int) -> Tensor:
    """Raise the best ``floor`` scores of a tensor above all others."""
    if floor == 0:
        return scores
    best = top_k(scores, floor) & (scores > -torch.inf)
    return scores.masked_fill(best, torch.inf)


def _rows(scores: Tensor, count: int) -> Tensor:
    """``count`` weights spread evenly over the rows; the first rows take what is left over, full rows none."""
    table = scores.flatten(1)
    room = (table > -torch.inf).sum(1)
    kept = room.clamp(max=count // len(table))
    while (missing := count - int(kept.sum())) > 0:
        kept[(kept < room).nonzero().flatten()[:missing]] += 1
    return top_k_rows(table, kept).view(scores.shape)


def _n_of_m(scores: Mapping[str, Tensor], pattern: NM, density: float) -> Masks:
    if abs(density - pattern.density) > 1e-9:
        raise UsageError(
            f"{pattern.n}:{pattern.m} keeps {pattern.density:g} of the weights, not {density:g}: "
            f"ask for sparsity={1 - pattern.density:g}"
        )
    masks = {}
    for name, score in scores.items():
        shape = tuple(score.shape)
        if pattern.applies(shape):
            groups = pattern.groups(score)
            kept = top_k_rows(groups, pattern.n) & (groups > -torch.inf)
            masks[name] = pattern.ungroup(kept, shape)
        else:
            masks[name] = score > -torch.inf
    dense = [name for name, score in scores.items() if not pattern.applies(tuple(score.shape))]
    left, total = sum(scores[name].numel() for name in dense), sum(score.numel() for score in scores.values())
    if left > LEAST_FIT * total:
        raise UsageError(
            f"{pattern.n}:{pattern.m}: inputs are no multiple of {pattern.m} in {', '.join(dense[:3])}, "
            f"which would leave {left} of {total} weights dense: take another M, or another network"
        )
    return Masks(masks)


def _blocks(
    scores: Mapping[str, Tensor], pattern: Block, density: float, counts: dict[str, int] | None, floor: int
) -> Masks:
    """Blocks by mean score, best first, as long as they fit: in each tensor, or in all together."""
    sizes = {n: pattern.sums(torch.ones_like(s, dtype=torch.float64)) for n, s in scores.items()}
    means = {}
    for name, score in scores.items():
        alive = pattern.sums((score > -torch.inf).double())
        if ((alive > 0) & (alive < sizes[name])).any():
            raise UsageError(f"the masks so far do not keep whole blocks of {name!r}: prune in one pattern throughout")
        sums = pattern.sums(score.double().masked_fill(score == -torch.inf, 0.0))
        means[name] = (sums / sizes[name]).masked_fill(alive == 0, -torch.inf)
    if counts is None:
        target = kept_count(density, sum(s.numel() for s in scores.values()))
        # A floor of weights is a floor of one block.
        means = {n: _protect(m.flatten(), min(floor, 1)).view(m.shape) for n, m in means.items()}
        flat = [torch.cat([t[n].flatten() for n in scores]) for t in (means, sizes)]
        parts = _fitting(*flat, target, pattern).split([m.numel() for m in means.values()])
        kept = {n: part.view(means[n].shape) for n, part in zip(means, parts, strict=True)}
    else:
        kept = {
            n: _fitting(m.flatten(), sizes[n].flatten(), counts[n], pattern).view(m.shape) for n, m in means.items()
        }
    return Masks({n: pattern.spread(k, tuple(scores[n].shape)) for n, k in kept.items()})


def _fitting(means: Tensor, sizes: Tensor, target: int, pattern: Block) -> Tensor:
    """The best blocks, in order, while their sizes sum to at most the target."""
    order = means.sort(descending=True, stable=True).indices
    fits = (sizes[order].cumsum(0) <= target) & (means[order] > -torch.inf)
    if not fits[0]:
        raise UsageError(
            f"block{pattern.rows}x{pattern.columns}: a block has {int(sizes[order[0]])} weights and only {target} "
            "may be kept: take smaller blocks, a lower sparsity or a global ranking"
        )
    return torch.empty_like(fits).scatter_(0, order, fits)
