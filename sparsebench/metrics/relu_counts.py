"""Counts of rectifier outputs: for every unit, on how many examples it was positive.

A *unit* is one position of one channel behind a convolution (C, H, W), one neuron of a perceptron, one
hidden feature of a transformer: there the positions of the sequence count like examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sparsebench.errors import UsageError
from sparsebench.ranks import several
from sparsebench.trace import SMOOTH, Trace, is_relu, take


@dataclass
class ReluSite:
    """Sums over the examples seen by one rectifier; everything that grows stays on the device."""

    features_last: bool
    alive: Tensor
    """Per unit, how often its output was not zero; int64, of the unit's shape."""
    channels: Tensor | None
    """Per channel, on how many examples any of its positions was not zero; None where a channel is a unit."""
    outputs: int = 0
    """Outputs one unit had: examples, or examples x sequence positions."""

    @property
    def tensors(self) -> list[Tensor]:
        return [self.alive] if self.channels is None else [self.alive, self.channels]


@dataclass
class SmoothSite:
    """Sums over one smooth activation."""

    positive: Tensor
    outputs: int = 0

    @property
    def tensors(self) -> list[Tensor]:
        return [self.positive]


class ActivationCounts(Trace):
    """Counts while a model runs: one reduction for every activation call and batch, no synchronisation."""

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.relus: dict[str, ReluSite] = {}
        self.smooth: dict[str, SmoothSite] = {}
        self.order: list[str] = []
        self.examples = 0
        self._scratch = torch.empty(0)
        self._linear: torch.Size | None = None
        self._convolution: torch.Size | None = None

    def intercept(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        if name in SMOOTH:
            self._count_smooth(take(args, kwargs, "input")[0][0])
        out = func(*args, **kwargs)
        if name == "linear":
            self._linear = out.shape
        elif name.startswith("conv") and isinstance(out, Tensor):
            self._convolution, self._linear = out.shape, None
        elif is_relu(name, args, kwargs):
            self._count_relu(out)
        return out

    def _count_relu(self, out: Tensor) -> None:
        name = self.site()
        if not out.is_floating_point() or out.ndim < 2:
            return
        if name not in self.relus:
            self.order.append(name)
            self.relus[name] = self._new_site(out)
        site = self.relus[name]
        units = out.flatten(0, -2) if site.features_last else out
        if units.shape[1:] != site.alive.shape:
            raise UsageError(
                f"the units of {name!r} changed from {tuple(site.alive.shape)} to {tuple(units.shape[1:])} "
                "between batches: dead-neuron rates are per unit; pass inputs of one size"
            )
        site.alive += self._nonzero(units)
        site.outputs += units.shape[0]
        if site.channels is not None:  # outputs are not negative: a sum is zero only if all its terms are
            site.channels += self._nonzero(out.sum(tuple(range(2, out.ndim))))

    def _nonzero(self, x: Tensor) -> Tensor:
        """How many of the values along dimension 0 are positive; of values that are 0 or more.

        A float sum of signs is many times faster than counting bools. It is taken in memory order, and the
        signs are written to the same memory every time: fresh pages cost more than the arithmetic.
        """
        in_order = x.movedim(1, -1) if x.ndim == 4 and not x.is_contiguous() else x
        kept = self._scratch
        if (kept.dtype, kept.device) != (x.dtype, x.device) or kept.numel() < x.numel():
            self._scratch = torch.empty(x.numel(), dtype=x.dtype, device=x.device)
        signs = torch.sign(in_order, out=self._scratch[: x.numel()].view(in_order.shape))
        count = signs.sum(0, dtype=torch.float32).long()
        return count if in_order is x else count.movedim(-1, 0)

    def _new_site(self, out: Tensor) -> ReluSite:
        features_last = out.ndim > 2 and self._is_features_last(out)
        shape = out.shape[-1:] if features_last else out.shape[1:]
        channels = None if len(shape) == 1 else torch.zeros(shape[0], dtype=torch.int64, device=out.device)
        return ReluSite(features_last, torch.zeros(shape, dtype=torch.int64, device=out.device), channels)

    def _is_features_last(self, out: Tensor) -> bool:
        """Whether a linear layer made the tensor, or it is [B, T, D] with no 1-d convolution before it."""
        after_convolution = self._convolution is not None and len(self._convolution) == 3
        return out.shape == self._linear or (out.ndim == 3 and not after_convolution)

    def _count_smooth(self, x: Tensor) -> None:
        name = self.site()
        if name not in self.smooth:
            self.order.append(name)
            self.smooth[name] = SmoothSite(torch.zeros((), dtype=torch.int64, device=x.device))
        site = self.smooth[name]
        site.positive += torch.count_nonzero(x > 0)
        site.outputs += x.numel()

    def all_reduce(self) -> None:
        """Sum the counts over all ranks, which must have seen at least one batch each."""
        if not several():
            return
        sites = [*self.relus.values(), *self.smooth.values()]
        counts = [t for site in sites for t in site.tensors]
        device = counts[0].device if counts else torch.device("cpu")
        flat = torch.cat(
            [
                torch.tensor([self.examples, *(site.outputs for site in sites)], device=device),
                *(t.flatten() for t in counts),
            ]
        )
        dist.all_reduce(flat)
        outputs, *sums = flat.split([1 + len(sites), *(t.numel() for t in counts)])
        for count, part in zip(counts, sums, strict=True):
            count.copy_(part.view_as(count))
        self.examples, *totals = outputs.tolist()
        for site, total in zip(sites, totals, strict=True):
            site.outputs = total
