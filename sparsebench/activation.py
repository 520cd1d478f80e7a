"""Activation: which weights AP removes, so that rectified units fire more often.

A unit fed by non-negative activations only fires more often when one of its *negative* weights goes. Of those AP takes
the ones that moved least while training,

    score(w_k) = |w_k - w0_k|   if w_k < 0 and k is alive,   smallest first, all tensors in one ranking

with ``w0`` the weights at the start of this cycle's training. The sign and the score are exchangeable, for controls.
Source: Liu et al. 2022, arXiv:2212.06145 (the paper's appendix of theory was not at hand; score, ranking and order are
those of the released code).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsebench.allocation import kept_count
from sparsebench.masks import Masks
from sparsebench.phases import Activating
from sparsebench.selection import top_k

Base = Callable[[Masks, float], Masks]
"""The method that AP works with: masks so far and a sparsity -> masks of that sparsity."""


@dataclass(frozen=True)
class Activated:
    """What a cycle's pruning with AP came to."""

    masks: Masks
    alive: int
    """Weights when the cycle began."""
    asked: int
    """Weights that AP was to remove."""
    removed: int
    """Those it removed; the rest there were no candidates for, and the base method removed as many."""


def share(ap: Activating, alive: int, target: int) -> int:
    """Of the weights to be removed, how many AP removes: ``round(q * alive)``.

    At most half of a pruning, since AP does not rate importance; all of it where it is AP's alone.

    >>> share(Activating(0.02), 1000, 800), share(Activating(0.02), 1000, 990)
    (20, 5)
    """
    if ap.whole:
        return alive - target
    return min(round(ap.q * alive), (alive - target) // 2)


def activated(
    ap: Activating,
    sparsity: float,
    alive: Masks,
    weights: Mapping[str, Tensor],
    start: Mapping[str, Tensor],
    base: Base,
    *,
    floor: int = 0,
    seed: int = 0,
) -> Activated:
    """One pruning: the base method first, then AP, then the base method again if AP found too little.

    As many weights are kept as without AP, ``round((1 - sparsity) * total)``.

    Args:
        alive: the masks so far; the new ones are nested in them.
        weights, start: of every masked tensor, at the end and at the start of the training before.
    """
    count, target = alive.kept, kept_count(1 - sparsity, alive.total)
    asked = share(ap, count, target)
    masks = alive if target + asked == count else base(alive, 1 - (target + asked) / alive.total)
    after = without_least(
        weights, start, masks, asked, sign=ap.sign, score=ap.score, floor=floor, generator=_generator(seed)
    )
    removed = masks.kept - after.kept
    return Activated(base(after, sparsity) if removed < asked else after, count, asked, removed)


def without_least(
    weights: Mapping[str, Tensor],
    start: Mapping[str, Tensor],
    masks: Masks,
    count: int,
    *,
    sign: str = "negative",
    score: str = "movement",
    floor: int = 0,
    generator: torch.Generator | None = None,
) -> Masks:
    """Masks without the ``count`` candidates of lowest score, or without all of them if there are fewer.

    Candidates are kept weights of a sign (``negative``, ``positive``, ``both``); scores are ``movement`` ``|w - w0|``,
    ``magnitude`` ``|w|`` and ``random``. Of equals those first in parameter order stay. ``floor`` weights stay in each
    tensor.

    >>> w, w0 = {"a": torch.tensor([-1.0, -2.0, 3.0, -4.0])}, {"a": torch.tensor([-1.1, -5.0, 3.0, -4.5])}
    >>> alive = Masks({"a": torch.tensor([True, True, True, True])})
    >>> without_least(w, w0, alive, 2)["a"]
    tensor([False,  True,  True, False])
    """
    ranked, candidates = [], 0
    for name, mask in masks.items():
        mask, weight = mask.flatten(), weights[name].detach().flatten()
        mask = mask.to(weight.device)
        eligible = mask & _of_sign(weight, sign)
        points = _score(weight, start[name].detach().flatten().to(weight), score, generator)
        # Whatever is not finite ranks as the weight that moved most; +inf is kept for what AP must not touch.
        points = points.nan_to_num(nan=torch.finfo(points.dtype).max)
        allowed = max(0, int(mask.sum()) - floor)
        if int(eligible.sum()) > allowed:
            eligible &= ~top_k(points.masked_fill(~eligible, -torch.inf), int(eligible.sum()) - allowed)
        candidates += int(eligible.sum())
        ranked.append(points.masked_fill(~eligible, torch.inf).masked_fill(~mask, -torch.inf))
    kept = top_k(torch.cat(ranked), masks.kept - min(count, candidates)).split([len(part) for part in ranked])
    return Masks({name: part.view(masks[name].shape) for name, part in zip(masks, kept, strict=True)})


def _of_sign(weight: Tensor, sign: str) -> Tensor:
    if sign == "both":
        return torch.ones_like(weight, dtype=torch.bool)
    return weight < 0 if sign == "negative" else weight > 0


def _score(weight: Tensor, start: Tensor, score: str, generator: torch.Generator | None) -> Tensor:
    if score == "random":
        return torch.rand(weight.shape, generator=generator).to(weight)
    return (weight - start if score == "movement" else weight).abs()


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
