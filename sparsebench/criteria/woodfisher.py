"""WoodFisher: the loss of removing a weight when all others of its block may make up for it, and their making up.

    score = w_q^2 / (2 [F^-1]_qq)        F = damp I + (1/m) sum_n g_n g_n^T,  in blocks of consecutive entries

g_n is the gradient of one example. Pruning also moves the kept weights K of a block to where they best replace the
removed ones Q:  minimise 1/2 d^T F d subject to d_Q = -w_Q,  which is  F_KK d_K = F_KQ w_Q.  For one removed weight it
is the published ``d = -w_q F^-1 e_q / [F^-1]_qq``. WoodFisher adds up these single moves, each made as if nothing else
were removed; the joint one is never worse in the quadratic model and costs one solve a block.
Weights pruned before cannot move: their gradients count as zero.

Of the block x block and m x m systems the smaller is solved (Woodbury), in float64.
Memory: m x p gradients of m examples and p weights, a chunk while they are computed, four numbers a weight, and
``WORKSPACE``.
Source: Singh & Alistarh 2020, arXiv:2004.14340 (eqs. 9-11, damp 1e-5 there); blocks: Kurtic et al. 2022, 2203.07259.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from sparsebench.budget import Budget
from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.per_example import flatten, gradient_matrix
from sparsebench.registry import criterion, solver

WORKSPACE = 2**27
"""Bytes for the blocks that are solved at once (one block may need more)."""


@criterion(
    needs="model",
    mode="eval",
    examples=512,
    second_order=True,
    moves_weights=True,
    least={"block": 1, "gradients": 1},
    paper="2004.14340",
)
def woodfisher(
    model: nn.Module,
    params: dict[str, Tensor],
    batches: Iterable,
    loss: Callable,
    *,
    block: int = 256,
    damp: float = 1e-5,
    gradients: int = 512,
) -> dict[str, Tensor]:
    _check(block, damp)
    matrix = gradient_matrix(model, params, batches, loss, limit=gradients)
    return _scores(params, matrix, block, damp)


@solver(name="woodfisher")
def solve(
    model: nn.Module,
    params: dict[str, Tensor],
    batches: Iterable,
    loss: Callable,
    budget: Budget,
    *,
    block: int = 256,
    damp: float = 1e-5,
    gradients: int = 512,
) -> tuple[Masks, dict[str, Tensor]]:
    """Masks by the scores, and the kept weights moved to make up for the others, ``(masks, {name: weight})``."""
    _check(block, damp)
    matrix = gradient_matrix(model, params, batches, loss, limit=gradients)
    matrix.mul_(flatten(budget.masks).to(matrix))
    masks = budget.select(_scores(params, matrix, block, damp))

    def moved(g: Tensor, w: Tensor, kept: Tensor) -> Tensor:
        m = g.shape[1]
        lost = g @ (w * (1 - kept))[..., None]
        return kept * (w + ridge_solution(g * kept[:, None], lost[..., 0], m * damp))

    new = {}
    for (name, w), columns in zip(params.items(), _by_tensor(matrix, params), strict=True):
        new[name] = by_blocks(moved, columns, block, w, masks[name]).view(w.shape).to(w.dtype)
    return masks, new


def _scores(params: dict[str, Tensor], matrix: Tensor, block: int, damp: float) -> dict[str, Tensor]:
    def score(g: Tensor, w: Tensor) -> Tensor:
        return w.square() / (2 * inverse_diagonal(g, damp))

    columns = _by_tensor(matrix, params)
    return {n: by_blocks(score, c, block, w).view(w.shape) for (n, w), c in zip(params.items(), columns, strict=True)}


def by_blocks(function: Callable, columns: Tensor, block: int, *vectors: Tensor) -> Tensor:
    """``function(g [b, m, width], *v [b, width]) -> [b, width]`` on the blocks of one tensor, joined to ``[size]``.

    ``columns`` ``[m, size]`` are the tensor's gradients, ``vectors`` have its shape; all come in float64. The last
    block is filled up with weights whose value and gradient are zero, which change nothing for the others.
    """
    m, size = columns.shape
    width = min(block, size)
    flat = [v.detach().flatten() for v in vectors]
    at_once = max(1, WORKSPACE // (8 * (4 * m * width + 3 * min(m, width) ** 2))) * width
    parts = []
    for start in range(0, size, at_once):
        pieces = [v[..., start : start + at_once].double() for v in (columns, *flat)]
        fill = (0, -pieces[0].shape[-1] % width)
        g, *others = (pad(v, fill).unflatten(-1, (-1, width)) for v in pieces)
        parts.append(function(g.transpose(0, 1), *others).flatten())
    return torch.cat(parts)[:size]


def inverse_diagonal(g: Tensor, damp: float) -> Tensor:
    """Diagonal of ``(damp I + g^T g / m)^-1``, ``[..., m, width] -> [..., width]``.

    >>> inverse_diagonal(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), 0.5)
    tensor([1.0000, 0.4000])
    """
    m, width = g.shape[-2:]
    if width <= m:
        return torch.cholesky_inverse(torch.linalg.cholesky(_ridged(g.mT @ g / m, damp))).diagonal(dim1=-2, dim2=-1)
    root = torch.linalg.cholesky(_ridged(g @ g.mT, m * damp))
    explained = torch.linalg.solve_triangular(root, g, upper=False).square().sum(-2)
    return (1 - explained) / damp


def ridge_solution(a: Tensor, u: Tensor, ridge: float) -> Tensor:
    """The d that minimises ``|a d - u|^2 + ridge |d|^2``, ``[..., m, width], [..., m] -> [..., width]``.

    ``(a^T a + ridge I)^-1 a^T u = a^T (a a^T + ridge I)^-1 u``; the smaller system is solved. Where a column is zero,
    so is d.

    >>> ridge_solution(torch.tensor([[3.0, 0.0]]), torch.tensor([4.0]), 3.0)
    tensor([1., 0.])
    """
    m, width = a.shape[-2:]
    if width <= m:
        root = torch.linalg.cholesky(_ridged(a.mT @ a, ridge))
        return torch.cholesky_solve(a.mT @ u[..., None], root)[..., 0]
    root = torch.linalg.cholesky(_ridged(a @ a.mT, ridge))
    return (a.mT @ torch.cholesky_solve(u[..., None], root))[..., 0]


def _ridged(square: Tensor, ridge: float) -> Tensor:
    square.diagonal(dim1=-2, dim2=-1).add_(ridge)
    return square


def _by_tensor(matrix: Tensor, params: dict[str, Tensor]) -> tuple[Tensor, ...]:
    return matrix.split([p.numel() for p in params.values()], dim=1)


def _check(block: int, damp: float) -> None:
    if block < 1:
        raise UsageError(f"block={block} is the number of entries of a block of the Fisher matrix: at least 1")
    if not damp > 0:
        raise UsageError(f"damp={damp:g} is added to the diagonal of the Fisher matrix and must be above 0, say 1e-5")
