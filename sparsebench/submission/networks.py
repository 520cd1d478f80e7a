"""Small networks of every kind, seeded, and two labelled batches for them: what a criterion is tried on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparsebench.models import build

NETWORKS = {
    "mlp": ("mlp", {"hidden": (20, 20)}),
    "resnet8": ("resnet8", {"width": 4}),
    "vgg": ("vgg8", {"width": 4}),
    "vit": ("vit_digits", {"dim": 16, "depth": 1, "heads": 2}),
}
WITH_BATCH_NORM = ("resnet8", "vgg")


def network(kind: str) -> nn.Module:
    """One of ``NETWORKS``, for images of 1 x 8 x 8 and ten classes."""
    torch.manual_seed(3)
    name, arguments = NETWORKS[kind]
    return build(name, (1, 8, 8), 10, **arguments)


def shared() -> nn.Module:
    """A perceptron two of whose layers are one weight: it is counted, scored and masked once."""
    net = build("mlp", (1, 8, 8), 10, hidden=(20, 20, 20))
    net.fc3.weight = net.fc2.weight
    return net


def frozen() -> nn.Module:
    """A perceptron whose first layer is frozen, and so not prunable."""
    net = network("mlp")
    net.fc1.weight.requires_grad_(False)
    return net


def half_pruned(kind: str) -> nn.Module:
    """A network that has been pruned: half of the weights, and all of one tensor, are exactly 0."""
    net, generator = network(kind), torch.Generator().manual_seed(4)
    weights = [p for p in net.parameters() if p.dim() > 1]
    with torch.no_grad():
        for weight in weights:
            weight.mul_(torch.rand(weight.shape, generator=generator) < 0.5)
        weights[len(weights) // 2].zero_()
    return net


def batches() -> list[tuple[Tensor, Tensor]]:
    """Twelve images and seven."""
    generator = torch.Generator().manual_seed(5)
    return [
        (torch.randn(n, 1, 8, 8, generator=generator), torch.randint(0, 10, (n,), generator=generator)) for n in (12, 7)
    ]
