"""Small networks of every kind, seeded, and two labelled batches for them."""

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


def network(kind: str) -> nn.Module:
    torch.manual_seed(3)
    name, arguments = NETWORKS[kind]
    return build(name, (1, 8, 8), 10, **arguments)


def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    return [
        (torch.randn(n, 1, 8, 8, generator=generator), torch.randint(0, 10, (n,), generator=generator)) for n in (12, 7)
    ]
