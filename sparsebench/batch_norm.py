"""Batch-norm statistics anew: pruning without retraining shifts what the running statistics describe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sparsebench.errors import UsageError
from sparsebench.ranks import several
from sparsebench.scoring import Loss, cross_entropy, untouched


def reestimate(model: nn.Module, batches: Iterable[Any], loss: Loss = cross_entropy) -> int:
    """Running means and variances of all batch norms, re-computed on calibration data in one pass.

        mean = E[x],   var = n / (n - 1) * (E[x^2] - mean^2)        over all images, positions and ranks

    The norms run in training mode: what a deeper one sees was normalised by the statistics of its own batch, so the
    result is exact for one batch and close for large ones. Everything else runs in evaluation mode (dropout is off).
    Weights, modes, step counts and random states stay as they are; without batch norm nothing is run.

    Returns:
        How many batch norms have new statistics; those without running statistics or never called have not.

    Raises:
        UsageError: a batch that gives a norm one value a channel (a batch of one image), or no batches.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms:
        return 0
    sums = {norm: torch.zeros(3, len(norm.running_mean), dtype=torch.float64) for norm in norms}
    sums = {norm: total.to(norm.running_mean.device) for norm, total in sums.items()}
    ran = False
    handles = [norm.register_forward_pre_hook(lambda norm, args: _add(sums[norm], args[0])) for norm in norms]
    try:
        with untouched(model, train=False), torch.no_grad():
            for norm in norms:
                norm.train()
            for batch in batches:
                loss(model, batch)
                ran = True
    finally:
        for handle in handles:
            handle.remove()
    if not ran:
        raise UsageError("no batches to re-estimate batch norm on: data is empty (a generator that was used up?)")
    if several():
        for total in sums.values():
            dist.all_reduce(total)
    called = {norm: total for norm, total in sums.items() if total[0, 0] > 0}
    for norm, (n, first, second) in called.items():
        mean = first / n
        norm.running_mean.copy_(mean)
        norm.running_var.copy_((second / n - mean.square()).clamp(min=0) * n / (n - 1))
    return len(called)


def _add(total: Tensor, x: Tensor) -> None:
    """Count, sum and sum of squares of each channel."""
    channels = x.double().transpose(0, 1).flatten(1)
    if channels.shape[1] < 2:
        raise UsageError("a batch of one image has no batch statistics: give calibration batches of two or more")
    total += torch.stack([torch.full_like(total[0], channels.shape[1]), channels.sum(1), channels.square().sum(1)])
