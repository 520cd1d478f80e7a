"""CHITA: the sparse weights that are best under a quadratic model of the loss, found together with their places.

    minimise  Q(b) = 1/2 |A b - y|^2 + (n ridge / 2) |b - w|^2   subject to  at most k non-zeros

A ``[n, p]`` holds the gradients of n examples, y = A w - 1. Then, with d = b - w,
``Q / n = 1/2 d^T (A^T A / n + ridge I) d + mean(g) d + 1/2``: Fisher matrix and first-order term.
``first_order=False`` takes y = A w.

1. Iterative hard thresholding: b <- the k largest of ``|b - step * Q'(b)|``, from the magnitude-pruned weights. Every
   iterate is accepted only if Q falls; steps grow while it does and shrink, down to one over the largest eigenvalue
   (power iteration), when it does not. What CHITA's coordinate descent adds is left to 2.
2. Back-solve: the exact minimum of Q on the places found, by the n x n system (in float64; 1 runs in the dtype of the
   weights).

With several ``stages`` (CHITA++) the density falls geometrically and gradients are computed anew at each solution.
The raw score is ``|w - step * Q'(w)|``, the first iterate before it is thresholded.
Memory: n x p gradients, a chunk while they are computed, and the kept columns once more in float64.
Source: Benbaki et al. 2023, arXiv:2302.14623 (eq. 5, Algorithms 1 and 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sparsebench.budget import Budget
from sparsebench.criteria.woodfisher import ridge_solution
from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.per_example import flatten, gradient_matrix, unflatten
from sparsebench.registry import criterion, solver


@criterion(
    needs="model",
    mode="eval",
    examples=512,
    second_order=True,
    moves_weights=True,
    least={"iterations": 1, "stages": 1, "gradients": 1},
    paper="2302.14623",
)
def chita(
    model: nn.Module,
    params: dict[str, Tensor],
    batches: Iterable,
    loss: Callable,
    *,
    ridge: float = 1.0,
    first_order: bool = True,
    iterations: int = 50,
    stages: int = 1,
    gradients: int = 512,
) -> dict[str, Tensor]:
    _check(ridge, iterations, stages)
    matrix = gradient_matrix(model, params, batches, loss, limit=gradients)
    model_of_loss = Quadratic(matrix, flatten(params), ridge, first_order)
    w = model_of_loss.weights
    return unflatten((w - model_of_loss.slope(w) / model_of_loss.curvature()).abs(), params)


@solver(name="chita")
def solve(
    model: nn.Module,
    params: dict[str, Tensor],
    batches: Iterable,
    loss: Callable,
    budget: Budget,
    *,
    ridge: float = 1.0,
    first_order: bool = True,
    iterations: int = 50,
    stages: int = 1,
    gradients: int = 512,
) -> tuple[Masks, dict[str, Tensor]]:
    """Masks and weights of the sparse minimum, ``(masks, {name: weight})``."""
    _check(ridge, iterations, stages)
    if stages > 1 and (budget.n_of_m or budget.counts is not None):
        raise UsageError(f"stages={stages} needs densities in between, which {budget.allocation!r} has not: stages=1")
    masks, start = budget.masks, budget.masks.density
    for k in range(1, stages + 1):
        density = budget.density if k == stages else start * (budget.density / start) ** (k / stages)
        matrix = gradient_matrix(model, params, batches, loss, limit=gradients)
        matrix.mul_(flatten(masks).to(matrix))
        model_of_loss = Quadratic(matrix, flatten(params), ridge, first_order)
        masks, weights = sparse_minimum(
            model_of_loss, params, replace(budget, density=density, masks=masks), iterations
        )
        with torch.no_grad():
            for name, p in params.items():
                p.copy_(weights[name])
    return masks, weights


@dataclass
class Quadratic:
    """``Q(b) = 1/2 |A (b - w) + e|^2 + (n ridge / 2) |b - w|^2``, e = 1 with the first-order term, else 0.

    >>> q = Quadratic(torch.tensor([[1.0, 0.0]]), torch.tensor([2.0, 1.0]), ridge=1.0, first_order=True)
    >>> q.value(torch.zeros(2)), q.slope(torch.zeros(2))
    (tensor(3.), tensor([-3., -1.]))
    """

    gradients: Tensor
    weights: Tensor
    ridge: float
    first_order: bool

    def __post_init__(self) -> None:
        self.pull = len(self.gradients) * self.ridge

    def residual(self, b: Tensor) -> Tensor:
        return self.gradients @ (b - self.weights) + float(self.first_order)

    def value(self, b: Tensor) -> Tensor:
        return (self.residual(b).square().sum() + self.pull * (b - self.weights).square().sum()) / 2

    def slope(self, b: Tensor) -> Tensor:
        return self.gradients.T @ self.residual(b) + self.pull * (b - self.weights)

    def curvature(self, rounds: int = 30) -> Tensor:
        """The largest eigenvalue, of ``A^T A + n ridge I``, by power iteration on ``A A^T``."""
        v = self.gradients.new_ones(len(self.gradients))
        for _ in range(rounds):
            v = self.gradients @ (self.gradients.T @ (v / v.norm().clamp(min=torch.finfo(v.dtype).tiny)))
        return v.norm() + self.pull

    def minimum_on(self, kept: Tensor) -> Tensor:
        """The b that minimises Q among those that are zero outside of ``kept`` (bool ``[p]``), exactly."""
        e = float(self.first_order)
        lost = self.gradients @ (self.weights * ~kept)
        move = ridge_solution(self.gradients[:, kept].double(), lost.double() - e, self.pull)
        b = torch.zeros_like(self.weights)
        b[kept] = (self.weights[kept] + move).to(b.dtype)
        return b


def sparse_minimum(
    q: Quadratic, params: dict[str, Tensor], budget: Budget, iterations: int
) -> tuple[Masks, dict[str, Tensor]]:
    """Iterative hard thresholding of Q within a budget, then the back-solve."""
    for _, masks in hard_thresholding(q, lambda b: budget.select(unflatten(b.abs(), params)), iterations):
        found = masks
    return found, unflatten(q.minimum_on(flatten(found)), params)


def hard_thresholding(
    q: Quadratic, select: Callable[[Tensor], Masks], iterations: int
) -> Iterator[tuple[Tensor, Masks]]:
    """Iterates ``(b, masks)`` of falling Q, the first of them the magnitude-pruned weights."""

    def project(b: Tensor) -> tuple[Tensor, Masks]:
        masks = select(b)
        return b * flatten(masks), masks

    b, masks = project(q.weights)
    yield b, masks
    value, safe = q.value(b), 1 / q.curvature()
    step = safe
    for _ in range(iterations):
        slope = q.slope(b)
        trial, masks = project(b - step * slope)
        while not q.value(trial) < value:
            if step <= safe:
                return
            step = torch.maximum(step / 2, safe)
            trial, masks = project(b - step * slope)
        b, value, step = trial, q.value(trial), 2 * step
        yield b, masks


def _check(ridge: float, iterations: int, stages: int) -> None:
    if not ridge > 0:
        raise UsageError(f"ridge={ridge:g} keeps the weights near where they were and must be above 0, say 1")
    if iterations < 1 or stages < 1:
        raise UsageError(f"iterations={iterations}, stages={stages}: at least 1 each")
