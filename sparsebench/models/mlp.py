"""Multilayer perceptrons: flatten, then Linear and ReLU, then one Linear classifier; no normalisation."""

from __future__ import annotations

from itertools import pairwise
from math import prod

from torch import nn

from sparsebench.registry import network

__all__ = ["lenet_300_100", "mlp"]


@network(width="hidden")
def mlp(input_shape: tuple[int, int, int], num_classes: int, *, hidden: tuple[int, ...] = (100, 100, 100)) -> nn.Module:
    """ReLU perceptron with the given hidden widths, (C, H, W) -> C*H*W -> hidden -> classes.

    >>> mlp((1, 8, 8), 10, hidden=(5,))
    Sequential(
      (flatten): Flatten(start_dim=1, end_dim=-1)
      (fc1): Linear(in_features=64, out_features=5, bias=True)
      (relu1): ReLU()
      (classifier): Linear(in_features=5, out_features=10, bias=True)
    )
    """
    net = nn.Sequential()
    net.add_module("flatten", nn.Flatten())
    widths = [prod(input_shape), *hidden]
    for i, (fan_in, fan_out) in enumerate(pairwise(widths), start=1):
        net.add_module(f"fc{i}", _he_linear(fan_in, fan_out))
        net.add_module(f"relu{i}", nn.ReLU())
    net.add_module("classifier", nn.Linear(widths[-1], num_classes))
    return net


@network(width="hidden")
def lenet_300_100(
    input_shape: tuple[int, int, int], num_classes: int, *, hidden: tuple[int, ...] = (300, 100)
) -> nn.Module:
    """LeNet-300-100 of LeCun et al. (1998) with ReLU, the perceptron of the pruning literature on MNIST."""
    return mlp(input_shape, num_classes, hidden=hidden)


def _he_linear(fan_in: int, fan_out: int) -> nn.Linear:
    layer = nn.Linear(fan_in, fan_out)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer
