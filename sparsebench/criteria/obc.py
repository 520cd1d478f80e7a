"""OBC (ExactOBS): remove the weight that costs least and let the rest of its row make up for it, again and again.

    score = w_p^2 / (2 [H^-1]_pp),   w -= w_p / [H^-1]_pp  H^-1[:, p],   then p is eliminated from H^-1

``H = (2/n) X X^T + damp mean(diag) I``. Each row is taken apart to the end; the removals of all rows of a layer are
then merged by their cost, as the row with the cheapest next removal would be picked, and the weights that stay are the
exact least-squares fit for their mask. Raw scores are the first costs, on the dense network. Layers follow one another,
so an allocation settles their counts before. Costs rows x columns^3, memory columns^2 a row: wide layers are refused.
The scores hold one columns x columns matrix a layer, in float64.
Source: Frantar et al. 2022, arXiv:2208.11580 (Algorithm 1; section 4). Convolutions by unfolding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from sparsebench.budget import Budget
from sparsebench.calibration import second_moments
from sparsebench.errors import UsageError
from sparsebench.layerwise import blocks, check_damp, factor, hessian, layer_by_layer
from sparsebench.masks import Masks
from sparsebench.patterns import matrix
from sparsebench.registry import criterion, solver

CHUNK = 2**25
"""Numbers in the inverse Hessians of the rows worked on at a time: 256 MiB."""


@criterion(
    regime="oneshot",
    needs="model",
    mode="eval",
    examples=1024,
    allocation="uniform",
    allocations=("uniform", "uniform+", "erk", "igq", "global", "row", "N:M"),
    second_order=True,
    moves_weights=True,
    dtype="float64",
    least={"widest": 1},
    paper="2208.11580",
)
def obc(
    model: nn.Module,
    params: dict[str, Tensor],
    batches: list,
    loss: Callable,
    *,
    damp: float = 0.01,
    widest: int = 1024,
) -> dict[str, Tensor]:
    _check(params, damp, widest)
    scores = {}
    for name, moments in second_moments(model, params, batches, loss).items():
        weight = params[name].detach()
        inverse = torch.cholesky_inverse(factor(hessian(moments, damp))).diagonal(dim1=-2, dim2=-1)
        score = blocks(weight.double(), len(moments)).square() / (2 * inverse[:, None])
        scores[name] = score.view(weight.shape).to(weight.dtype)
    return scores


@solver(name="obc")
def solve(
    model: nn.Module,
    params: dict[str, Tensor],
    batches: list,
    loss: Callable,
    budget: Budget,
    *,
    damp: float = 0.01,
    widest: int = 1024,
) -> tuple[Masks, dict[str, Tensor]]:
    _check(params, damp, widest)

    def prune_layer(name: str, weight: Tensor, moments: Tensor, like: Masks) -> tuple[Tensor, Tensor]:
        before, target = (masks[name].to(weight.device) for masks in (budget.masks, like))
        h, w = hessian(moments, damp), blocks(weight.double(), len(moments))
        alive = blocks(before, len(moments))
        turn = removal_order(w, h, alive, *_places(before, target, budget))
        mask = budget.again(name, turn.view(weight.shape), like)
        return mask, refit(w, h, blocks(mask, len(moments))).view(weight.shape)

    return layer_by_layer(
        model,
        params,
        batches,
        loss,
        budget,
        statistic=second_moments,
        scores=lambda: obc(model, params, batches, loss, damp=damp, widest=widest),
        prune_layer=prune_layer,
    )


def removal_order(weight: Tensor, h: Tensor, alive: Tensor, place: Tensor, quota: Tensor) -> Tensor:
    """For each weight of a layer, its turn to be removed (float64, from 0); those that never are come last.

    Args:
        weight, alive: ``[groups, rows, columns]``; what is not alive is 0 and takes no part.
        h: Hessians, ``[groups, columns, columns]``.
        place: the part of the row a column belongs to, ``[columns]``.
        quota: how many weights may go from each part of each row, ``[groups * rows, parts]``.
    """
    w, kept = weight.flatten(0, 1), alive.flatten(0, 1)
    cost, step = torch.empty_like(w), torch.empty_like(w)
    for part, hessians in _row_chunks(weight, h):
        cost[part], step[part] = _traces(w[part], hessians, kept[part], place, quota[part])
    order = step.flatten().argsort(stable=True)
    order = order[cost.flatten()[order].argsort(stable=True)]
    turns = torch.arange(w.numel(), dtype=w.dtype, device=w.device)
    return torch.empty_like(turns).scatter_(0, order, turns).view(weight.shape)


def _traces(w: Tensor, h: Tensor, alive: Tensor, place: Tensor, quota: Tensor) -> tuple[Tensor, Tensor]:
    """Greedy removal in all rows at once: cost and step of every removal, ``[rows, columns]``.

    The cost is the highest of the row so far: a removal can only follow those before it, however cheap it is.
    """
    w, alive, quota = w.clone(), alive.clone(), quota.clone()
    inverse = torch.cholesky_inverse(factor(_within(h, alive)))
    rows = torch.arange(len(w), device=w.device)
    cost, step = torch.full_like(w, torch.inf), torch.full_like(w, w.shape[1])
    highest = torch.zeros_like(w[:, 0])
    for t in range(int(torch.minimum(quota.sum(1), alive.sum(1)).max())):
        open_to_go = alive & (quota[:, place] > 0)
        losses = w.square() / (2 * inverse.diagonal(dim1=1, dim2=2))
        loss, p = losses.masked_fill(~open_to_go, torch.inf).min(1)
        going = loss < torch.inf  # a row with nothing more to remove stays as it is
        highest = torch.where(going, torch.maximum(highest, loss), highest)
        column = inverse[rows, p]
        scaled = column * torch.where(going, 1 / inverse[rows, p, p], 0.0)[:, None]
        w -= w[rows, p, None] * scaled
        inverse.baddbmm_(scaled[:, :, None], column[:, None], alpha=-1)
        cost[rows, p] = torch.where(going, highest, cost[rows, p])
        step[rows, p] = torch.where(going, float(t), step[rows, p])
        alive[rows, p] &= ~going
        quota[rows, place[p]] -= going.to(quota.dtype)
    return cost, step


def refit(weight: Tensor, h: Tensor, keep: Tensor) -> Tensor:
    """The weights that come nearest to the layer's outputs under a mask, ``[groups, rows, columns]``.

    Minimises ``(v - w)^T H (v - w)`` over rows v that are 0 outside the mask: ``H_kk v_k = (H w)_k``.
    """
    w, kept = weight.flatten(0, 1), keep.flatten(0, 1)
    new = torch.empty_like(w)
    for part, hessians in _row_chunks(weight, h):
        goal = (hessians @ w[part, :, None]).masked_fill(~kept[part, :, None], 0.0)
        new[part] = torch.cholesky_solve(goal, factor(_within(hessians, kept[part]))).squeeze(-1)
    return new.view(weight.shape).masked_fill(~keep, 0.0)


def _row_chunks(weight: Tensor, h: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Indices of some rows, groups one behind the other, and the Hessian of each."""
    groups, rows, columns = weight.shape
    for part in torch.arange(groups * rows, device=weight.device).split(max(1, CHUNK // columns**2)):
        yield part, h[part // rows]


def _within(h: Tensor, keep: Tensor) -> Tensor:
    """The Hessian of the kept weights of each row; the identity elsewhere."""
    inside = h.masked_fill(~(keep[:, :, None] & keep[:, None, :]), 0.0)
    return inside + torch.diag_embed((~keep).to(h.dtype))


def _places(before: Tensor, like: Tensor, budget: Budget) -> tuple[Tensor, Tensor]:
    """The parts of a row that have counts of their own, and how many weights each loses, as in ``removal_order``.

    Groups of N:M; the whole row otherwise, which may go to the end where its count follows from the costs.
    """
    index = torch.arange(before[0].numel(), device=before.device)
    if budget.n_of_m:
        m = budget.n_of_m[1]
        place = torch.empty_like(index).scatter_(0, matrix(index.view(1, *before.shape[1:])).flatten(), index // m)
        alive, kept = (matrix(mask).unflatten(1, (-1, m)).sum(-1) for mask in (before, like))
        return place, alive - kept
    kept = like.flatten(1).sum(1, keepdim=True) * (budget.allocation == "row")
    return torch.zeros_like(index), before.flatten(1).sum(1, keepdim=True) - kept


def _check(params: dict[str, Tensor], damp: float, widest: int) -> None:
    """Refuse layers whose exact solution would take hours."""
    check_damp(damp)
    wide = {name: p[0].numel() for name, p in params.items() if p[0].numel() > widest}
    if wide:
        listed = ", ".join(f"{name} ({columns})" for name, columns in wide.items())
        raise UsageError(
            f"obc takes rows x columns^3 steps and {listed} has more than widest={widest} inputs a row: use sparsegpt, "
            "leave the layer out with a scope (exclude=), or raise widest"
        )
