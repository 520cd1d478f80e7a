"""Selection: from scores to masks of an exact size, ties broken by position."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sparsebench.allocation import kept_count, layer_counts
from sparsebench.errors import UsageError
from sparsebench.masks import Masks


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


def select(
    scores: Mapping[str, Tensor],
    density: float,
    *,
    allocation: str = "global",
    masks: Masks | None = None,
    floor: int = 0,
) -> Masks:
    """Keep ``round(density * total)`` weights, the largest scores first.

    Args:
        scores: one tensor a prunable parameter, larger = keep.
        density: kept fraction of all prunable weights (not of those still alive).
        allocation: ``global`` or a rule that gives each tensor its count.
        masks: the masks so far; what they removed stays removed, so masks are nested.
        floor: weights kept in every tensor under a global ranking, whatever their score (a guard against
            emptied layers); under another allocation the counts are the allocation's.

    Raises:
        NonFiniteScore: a score is NaN or infinite.
        UsageError: more weights are asked for than the masks so far hold, masks of other tensors than the
            scores, or a density outside (0, 1].
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
    shapes = {n: tuple(s.shape) for n, s in scores.items()}
    total = sum(s.numel() for s in scores.values())
    capacity = masks.counts if masks is not None else {n: s.numel() for n, s in scores.items()}
    target = kept_count(density, total)
    if target > sum(capacity.values()):
        raise UsageError(f"density {density:g} asks for {target} weights, but only {sum(capacity.values())} are left")
    counts = layer_counts(allocation, shapes, density, capacity)
    if counts is not None:
        return Masks({n: top_k(s.flatten(), counts[n]).view(s.shape) for n, s in ranked.items()})
    flat = torch.cat([_protect(s.flatten(), floor) for s in ranked.values()])
    parts = top_k(flat, target).split([s.numel() for s in ranked.values()])
    return Masks({n: part.view(shapes[n]) for n, part in zip(ranked, parts, strict=True)})


def _protect(scores: Tensor, floor: int) -> Tensor:
    """Raise the best ``floor`` scores of a tensor above all others."""
    if floor == 0:
        return scores
    best = top_k(scores, floor) & (scores > -torch.inf)
    return scores.masked_fill(best, torch.inf)
