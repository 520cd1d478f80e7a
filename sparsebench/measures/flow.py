"""Flow: how much of an input of ones reaches the outputs through absolute weights, layer by layer.

    flow(layer) = sum of |w * dR/dw| over its weights        R: summed outputs of the network with absolute weights

Biases and the shifts of batch norms are left out, so that every unit is homogeneous. Then all layers of a chain have
the same flow, R; in a residual network those in parallel share it. R = 0: no path of weights leads from the input to
the outputs, the network is cut, whatever each layer has left.
Source: Tanaka et al. 2020, arXiv:2006.05467 (theorems 1 and 2). For networks of rectified units; float64.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn

from sparsebench.functional import scores
from sparsebench.measures import Subject
from sparsebench.registry import measure


@measure
def flow(subject: Subject) -> dict[str, Any]:
    """Flow through the finished network: ``total``, and of every layer; ``spread`` = largest / smallest - 1."""
    layers = layer_flows(subject.net, subject.data.input_shape)
    most, least = max(layers.values()), min(layers.values())
    return {"total": most, "spread": most / least - 1 if least else None, "layers": layers}


def layer_flows(net: nn.Module, input_shape: tuple[int, ...]) -> dict[str, float]:
    """Weight's name -> the sum of its scores.

    >>> net = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1))
    >>> for weight, values in zip(net.parameters(), ([[1.0, -2.0]], [5.0], [[3.0]], [5.0])):
    ...     weight.data = torch.tensor(values)
    >>> layer_flows(net, (2,))
    {'0.weight': 9.0, '2.weight': 9.0}
    """
    found = scores(without_shifts(net), "synflow", [torch.ones(1, *input_shape)])
    return {name: score.double().sum().item() for name, score in found.items()}


def without_shifts(net: nn.Module) -> nn.Module:
    """A copy on the CPU whose biases, norm biases and running means are 0."""
    copy = deepcopy(net).cpu().float()
    with torch.no_grad():
        for module in copy.modules():
            for name in ("bias", "running_mean"):
                shift = getattr(module, name, None)
                if isinstance(shift, torch.Tensor):
                    shift.zero_()
    return copy
