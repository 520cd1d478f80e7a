"""SparseGPT: prune columns from left to right and let the later columns make up for what went.

    H = (2/n) X X^T + damp mean(diag) I,   U = upper Cholesky factor of H^-1,   score = w_c^2 / U_cc^2

In blocks of 128 columns: at the start of a block its lowest scores go, all rows together; then for each column
``err = (w - q) / U_cc`` (q = w where kept, 0 where pruned) and all later columns change by ``-err U_c,:``. Weights of
inputs that are always 0 become 0. Raw scores are those of the dense network, w^2 / U_cc^2 with no column yet changed.
Source: Frantar & Alistarh 2023, arXiv:2301.00774 (Algorithm 1). Differences: a block removes its share of the exact
count of the layer, rounded cumulatively over the blocks; convolutions by unfolding.
Memory of the scores: one columns x columns matrix a layer, in float64; of pruning: that of one layer at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import torch
from torch import Tensor, nn

from sparsebench.budget import Budget
from sparsebench.calibration import second_moments
from sparsebench.errors import UsageError
from sparsebench.layerwise import blocks, check_damp, factor, hessian, layer_by_layer
from sparsebench.masks import Masks
from sparsebench.patterns import matrix
from sparsebench.registry import criterion, solver
from sparsebench.selection import top_k, top_k_rows


@criterion(
    regime="oneshot",
    needs="model",
    mode="eval",
    examples=1024,
    allocation="uniform",
    allocations=("uniform", "uniform+", "erk", "igq", "global", "N:M"),
    second_order=True,
    moves_weights=True,
    dtype="float64",
    least={"block": 1},
    paper="2301.00774",
)
def sparsegpt(
    model: nn.Module,
    params: dict[str, Tensor],
    batches: list,
    loss: Callable,
    *,
    damp: float = 0.01,
    block: int = 128,
) -> dict[str, Tensor]:
    check_damp(damp)
    scores = {}
    for name, moments in second_moments(model, params, batches, loss).items():
        weight = params[name].detach()
        diagonal = upper_factor(hessian(moments, damp)).diagonal(dim1=-2, dim2=-1)
        score = (without_dead(weight, moments) / diagonal[:, None]).square()
        scores[name] = score.view(weight.shape).to(weight.dtype)
    return scores


@solver(name="sparsegpt")
def solve(
    model: nn.Module,
    params: dict[str, Tensor],
    batches: list,
    loss: Callable,
    budget: Budget,
    *,
    damp: float = 0.01,
    block: int = 128,
) -> tuple[Masks, dict[str, Tensor]]:
    check_damp(damp)
    if isinstance(block, bool) or not isinstance(block, int) or block < 1:
        raise UsageError(f"block={block!r} counts columns pruned at a time and must be a whole number from 1: try 128")

    def prune_layer(name: str, weight: Tensor, moments: Tensor, like: Masks) -> tuple[Tensor, Tensor]:
        groups, m = len(moments), budget.n_of_m and budget.n_of_m[1]
        # Groups of N:M are consecutive input channels of one kernel position, so those columns must be neighbours.
        columns = torch.arange(moments.shape[-1], device=weight.device).view(1, *weight.shape[1:])
        order = (matrix(columns) if m else columns).flatten()
        alive, target = (blocks(masks[name].to(weight.device), groups)[..., order] for masks in (budget.masks, like))
        u = upper_factor(hessian(moments, damp)[:, order][:, :, order])
        keep, new = sweep(without_dead(weight, moments)[..., order], u, alive, target, block, m)
        back = order.argsort()
        return keep[..., back].view(weight.shape), new[..., back].view(weight.shape)

    return layer_by_layer(
        model,
        params,
        batches,
        loss,
        budget,
        statistic=second_moments,
        scores=lambda: sparsegpt(model, params, batches, loss, damp=damp, block=block),
        prune_layer=prune_layer,
    )


def sweep(
    weight: Tensor, u: Tensor, alive: Tensor, like: Tensor, block: int = 128, m: int | None = None
) -> tuple[Tensor, Tensor]:
    """One pass over the columns: the mask and the compensated weights, all ``[groups, rows, columns]``.

    Args:
        u: upper factors of the inverse Hessians, ``[groups, columns, columns]``.
        alive: what earlier masks kept; the rest stays 0.
        like: as many weights are kept as here: in all, or with ``m`` in each m neighbours of a row.
    """
    weight, keep = weight.clone(), alive.clone()
    diagonal = u.diagonal(dim1=-2, dim2=-1)
    width = weight.shape[-1]
    block = block if m is None else max(m, block - block % m)
    span = block if m is None else m
    choose = _n_of_m(like, m) if m else _lowest_of_block(alive, like, block)
    for start in range(0, width, block):
        end = min(start + block, width)
        errors = torch.zeros_like(weight[..., start:end])
        for c in range(start, end):
            if c % span == 0:
                part = slice(c, min(c + span, width))
                score = (
                    (weight[..., part] / diagonal[:, None, part]).square().masked_fill(~alive[..., part], -torch.inf)
                )
                keep[..., part] = choose(score, c // span)
            kept = weight[..., c] * keep[..., c]
            error = (weight[..., c] - kept) / diagonal[:, None, c]
            weight[..., c + 1 : end] -= error[..., None] * u[:, None, c, c + 1 : end]
            weight[..., c], errors[..., c - start] = kept, error
        weight[..., end:] -= errors @ u[:, start:end, end:]
    return keep, weight


def _lowest_of_block(alive: Tensor, like: Tensor, block: int) -> Callable[[Tensor, int], Tensor]:
    """Every block loses its share of what the layer loses, all rows together."""
    removable, kept = (mask.sum((0, 1)).tolist() for mask in (alive, like))
    sizes = [sum(removable[i : i + block]) for i in range(0, len(removable), block)]
    left = [size - gone for size, gone in zip(sizes, shares(sizes, sum(removable) - sum(kept)), strict=True)]
    return lambda score, i: top_k(score.flatten(), left[i]).view(score.shape)


def _n_of_m(like: Tensor, m: int) -> Callable[[Tensor, int], Tensor]:
    """Every row keeps as many of m neighbours as it should."""
    counts = like.unflatten(-1, (-1, m)).sum(-1)
    return lambda score, i: top_k_rows(score.flatten(0, 1), counts[..., i].flatten()).view(score.shape)


def shares(sizes: list[int], total: int) -> list[int]:
    """``total`` split in proportion to the sizes, by rounding the running sum.

    >>> shares([3, 3, 3, 1], 5)
    [2, 1, 2, 0]
    """
    whole = sum(sizes)
    until = [(2 * total * size + whole) // (2 * whole) for size in accumulate(sizes)]
    return [b - a for a, b in zip([0, *until], until, strict=False)]


def upper_factor(hessian: Tensor) -> Tensor:
    """Upper Cholesky factor U of the inverse, ``H^-1 = U^T U``, without inverting H.

    With the columns in reverse order the factor of H itself is an upper R with ``H = R R^T``, and ``U = R^-1``.

    Raises:
        UsageError: H is not positive definite.
    """
    r = factor(hessian.flip(-1, -2)).flip(-1, -2)
    return torch.linalg.solve_triangular(r, torch.eye(r.shape[-1], dtype=r.dtype, device=r.device), upper=True)


def without_dead(weight: Tensor, moments: Tensor) -> Tensor:
    """The weight in float64, ``[groups, rows, columns]``, 0 where the input always is."""
    dead = moments.diagonal(dim1=-2, dim2=-1) == 0
    return blocks(weight.double(), len(moments)).masked_fill(dead[:, None], 0.0)
