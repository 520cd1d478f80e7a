"""Pruning layer after layer, in the order of the forward pass: the inputs of a layer come from those already pruned."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sparsebench.allocation import split_allocation
from sparsebench.budget import Budget
from sparsebench.calibration import forward_order
from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.patterns import Block
from sparsebench.scoring import Loss
from sparsebench.selection import NonFiniteScore

Statistic = Callable[[nn.Module, dict[str, Tensor], list, Loss], dict[str, Tensor]]
"""Statistics of the inputs of some weights, from ``sparsebench.calibration``."""

PruneLayer = Callable[[str, Tensor, Tensor, Masks], tuple[Tensor, Tensor]]
"""``(name, weight, statistics, like) -> (mask, new weight)``; as many are kept as ``like[name]`` keeps."""


def layer_by_layer(
    model: nn.Module,
    params: dict[str, Tensor],
    batches: list,
    loss: Loss,
    budget: Budget,
    *,
    statistic: Statistic,
    scores: Callable[[], dict[str, Tensor]],
    prune_layer: PruneLayer,
) -> tuple[Masks, dict[str, Tensor]]:
    """Masks and new weights of every layer; the new weights are also written into ``params``.

    How many weights a layer keeps is settled before, on the network as it comes: by the allocation, or, where it ranks
    layers against each other, by ``scores()``. Which ones is up to ``prune_layer``, given the statistics of the layer's
    present inputs. A layer of which nothing is to go is left as it is.

    Raises:
        UsageError: no batches, or a weight whose inputs cannot be seen.
        NonFiniteScore: inputs overflow or are NaN.
    """
    if not batches:
        raise UsageError("no batches to calibrate on: data is empty (a generator that was used up?)")
    order = forward_order(model, params, batches[0], loss)
    like = budget.select(scores() if _ranks_layers(budget) else {n: p.detach().abs() for n, p in params.items()})
    masks, weights = {}, {}
    for name in order:
        weight = params[name].detach()
        before = budget.masks[name].to(weight.device)
        if torch.equal(like[name].to(weight.device), before):
            masks[name], weights[name] = before, weight.masked_fill(~before, 0.0)
        else:
            statistics = statistic(model, {name: params[name]}, batches, loss)[name]
            if not torch.isfinite(statistics).all():
                raise NonFiniteScore(
                    f"the inputs of {name!r} are not finite; the network overflowed or has NaN weights"
                )
            mask, new = prune_layer(name, weight.masked_fill(~before, 0.0), statistics, like)
            masks[name], weights[name] = mask, new.to(weight.dtype).masked_fill(~mask, 0.0)
        params[name].data.copy_(weights[name])
    return Masks({name: masks[name] for name in params}), {name: weights[name] for name in params}


def hessian(moments: Tensor, damp: float) -> Tensor:
    """``H = (2/n) X X^T + damp mean(diag) I`` from the second moments ``X X^T / n``, ``[groups, columns, columns]``.

    Half of ``delta^T H delta`` is the mean squared change of an output whose row of weights moves by delta (without the
    damping). The mean of the diagonal is each group's own. A layer that nothing ever enters has the identity.

    >>> hessian(torch.tensor([[[1.0, 0.0], [0.0, 3.0]]]), damp=0.5)
    tensor([[[4., 0.],
             [0., 8.]]])
    """
    mean = 2 * moments.diagonal(dim1=-2, dim2=-1).mean(-1)
    extra = torch.where(mean > 0, damp * mean, 1.0)
    return 2 * moments + extra[:, None, None] * torch.eye(moments.shape[-1], dtype=mean.dtype, device=mean.device)


def check_damp(damp: float) -> None:
    """Refuse a damping that is no share of the mean diagonal."""
    if isinstance(damp, bool) or not isinstance(damp, int | float) or not 0 <= damp < float("inf"):
        raise UsageError(f"damp={damp!r} is a share of the mean diagonal of the Hessian, a number from 0: try 0.01")


def factor(matrix: Tensor) -> Tensor:
    """Lower Cholesky factor of a batch of matrices.

    Raises:
        UsageError: one is not positive definite.
    """
    lower, info = torch.linalg.cholesky_ex(matrix)
    if info.any():
        raise UsageError(
            "the Hessian of a layer is singular: its inputs are linearly dependent; raise damp (0.01 is usual) or give "
            "more calibration data"
        )
    return lower


def blocks(tensor: Tensor, groups: int) -> Tensor:
    """A weight or mask as ``[groups, rows, columns]``; its inverse is ``view_as``."""
    return tensor.reshape(groups, tensor.shape[0] // groups, -1)


def _ranks_layers(budget: Budget) -> bool:
    """Whether the number of weights a layer keeps depends on the scores."""
    rule, pattern = split_allocation(budget.allocation)
    return budget.counts is None and (isinstance(pattern, Block) or (rule == "global" and pattern is None))
