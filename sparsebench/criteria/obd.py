"""OBD: second-order change of the cross-entropy if a weight were removed, by the diagonal of the Gauss-Newton matrix.

    score = 1/2 h_qq w_q^2        h_qq = mean over examples of sum_c p_c (d log p_c / dw_q)^2

p_c is the probability that the network gives class c; labels are not used. LeCun et al. drop the same terms of the
Hessian (those with second derivatives of the network). Exact up to ``classes`` classes, at one backward pass for
each; beyond, ``classes`` labels are drawn for each example from p, which is right in the mean.
Memory: that of a chunk of ``sparsebench.per_example`` and six numbers a weight.
Source: LeCun, Denker & Solla 1989, "Optimal Brain Damage".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy as negative_log_likelihood

from sparsebench.errors import UsageError
from sparsebench.per_example import mean_squared_gradients
from sparsebench.registry import criterion
from sparsebench.scoring import cross_entropy

Weighted = tuple[Tensor, Tensor, Tensor]
"""Inputs, one label each, and the root of the label's weight."""


@criterion(needs="model", mode="eval", examples=256, second_order=True, least={"classes": 1})
def obd(
    model: nn.Module, params: dict[str, Tensor], batches: Iterable, loss: Callable, *, classes: int = 100
) -> dict[str, Tensor]:
    if loss is not cross_entropy:
        raise UsageError("obd knows the curvature of cross-entropy only: leave loss= out, or use fisher with this loss")
    if classes < 1:
        raise UsageError(f"classes={classes} is the number of labels tried on each example: at least 1")
    squares = mean_squared_gradients(model, params, _every_label(model, batches, classes), _rooted_loss)
    return {name: s * w.detach().square() / 2 for (name, w), s in zip(params.items(), squares, strict=True)}


def _every_label(model: nn.Module, batches: Iterable, classes: int) -> Iterator[Weighted]:
    """Each batch once a class, or once a drawn label; an example's weights have the mean 1 over these repeats."""
    generator = torch.Generator().manual_seed(0)
    for batch in batches:
        with torch.no_grad():
            cross_entropy(model, batch)  # refuses what is not a pair of inputs and labels
            p = torch.softmax(model(batch[0]), 1)
        if p.ndim != 2:
            raise UsageError(f"obd needs outputs [examples, classes], these are {tuple(p.shape)}: use fisher")
        count = p.shape[1]
        if count <= classes:
            for c in range(count):
                yield batch[0], torch.full_like(batch[1], c), (p[:, c] * count).sqrt()
        else:
            drawn = torch.multinomial(p.cpu(), classes, replacement=True, generator=generator).to(p.device)
            for labels in drawn.unbind(1):
                yield batch[0], labels, torch.ones_like(p[:, 0])


def _rooted_loss(model: Callable, batch: Weighted) -> Tensor:
    """``sqrt(weight) * -log p_label``: the square of its gradient is ``weight * (d log p_label)^2``."""
    x, labels, root = batch
    return (root * negative_log_likelihood(model(x), labels, reduction="none")).mean()
