"""Global batch norm: statistics of the global batch, so that a cell's result does not hang on its number of devices."""

from __future__ import annotations

import torch
import torch.distributed as dist
from lightning.pytorch.plugins import LayerSync
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm

from sparsebench.ranks import several, world


class GlobalBatchNorm(LayerSync):
    """Puts synchronised layers in the place of a module's batch norm, and the very same layers back afterwards.

    On a GPU ``nn.SyncBatchNorm``, which knows no CPU; there the same in plain operations.
    """

    def __init__(self) -> None:
        self._originals: list[tuple[nn.Module, str, nn.Module]] = []

    def apply(self, model: nn.Module) -> nn.Module:
        for parent in list(model.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, _BatchNorm) and not isinstance(child, nn.SyncBatchNorm):
                    self._originals.append((parent, name, child))
                    setattr(parent, name, _twin(child))
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        for parent, name, child in self._originals:
            child.train(getattr(parent, name).training)
            setattr(parent, name, child)
        self._originals = []
        return model


def _twin(norm: _BatchNorm) -> nn.Module:
    """A synchronised layer of the same parameters and buffers."""
    on_gpu = any(t.is_cuda for t in [*norm.parameters(), *norm.buffers()])
    kind = nn.SyncBatchNorm if on_gpu else PlainSyncBatchNorm
    twin = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    twin._parameters, twin._buffers = norm._parameters, norm._buffers
    return twin.train(norm.training)


class PlainSyncBatchNorm(_BatchNorm):
    """Batch norm over the examples of all ranks, each of which has as many.

    Mean and variance are two sums over the ranks, the second about the global mean; gradients flow through both.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not several() or (not self.training and self.running_mean is not None):
            return super().forward(x)
        others = [0, *range(2, x.dim())]
        shape = (1, -1, *[1] * (x.dim() - 2))
        n = x.numel() // x.shape[1] * world()
        mean = (SumOverRanks.apply(x.sum(others, dtype=torch.float64)) / n).to(x.dtype)
        centred = x - mean.view(shape)
        variance = (SumOverRanks.apply(centred.square().sum(others, dtype=torch.float64)) / n).to(x.dtype)
        self._remember(mean.detach(), variance.detach() * (n / (n - 1)))
        y = centred * (variance + self.eps).rsqrt().view(shape)
        return y if self.weight is None else y * self.weight.view(shape) + self.bias.view(shape)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or not self.training:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)

    def _check_input_dim(self, x: Tensor) -> None:
        """Any number of dimensions."""


class SumOverRanks(Function):
    """The sum of a tensor over the ranks; so is its gradient."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return _summed(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _summed(x: Tensor) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total
