"""Multiply-accumulates against sums by hand and torch's own counter (two FLOPs each)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sparsebench.metrics.flops import macs
from sparsebench.models.resnet import resnet8, resnet18
from sparsebench.models.vgg import vgg8
from sparsebench.models.vit import vit_digits, vit_tiny


class Einsum(nn.Module):
    """Attention written by hand."""

    def __init__(self):
        super().__init__()
        self.q, self.k = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.einsum("...id, ...jd -> ...ij", self.q(x), self.k(x)).softmax(-1)
        return torch.baddbmm(x, weights, x) + torch.bmm(weights, x) + weights @ x


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True, kdim=8, vdim=10)
        self.same = nn.MultiheadAttention(12, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.attention(x, x[:, :5, :8], x[:, :5, :10])[0]
        return self.same(y, y, y)[0]


def torch_macs(net: nn.Module, shape: tuple[int, ...]) -> int:
    counter = FlopCounterMode(display=False)
    # Not every torch counts its fused CPU attention; the plain one is two matrix products in all of them.
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        net.train()(torch.zeros(2, *shape))
    assert counter.get_total_flops() % 4 == 0
    return counter.get_total_flops() // 4


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (resnet8((3, 16, 16), 10), (3, 16, 16)),
        (resnet18((3, 64, 64), 7), (3, 64, 64)),
        (vgg8((1, 8, 8), 10), (1, 8, 8)),
        (vit_digits((1, 8, 8), 10), (1, 8, 8)),
        (vit_tiny((3, 16, 16), 10), (3, 16, 16)),
        (
            nn.Sequential(nn.Conv2d(4, 8, 3, groups=2, stride=2), nn.ConvTranspose2d(8, 6, 3, stride=2)),
            (4, 9, 9),
        ),
        (nn.Sequential(nn.Conv1d(4, 8, 3, dilation=2), nn.ReLU(), nn.Linear(6, 3)), (4, 10)),
        (nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), (5, 8)),
        (Attention(), (7, 12)),
        (Einsum(), (5, 6)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_dense_work_equals_that_of_torch(net, shape):
    counted = macs(net, shape)
    assert counted.dense == counted.sparse == torch_macs(net, shape)
    assert counted.speedup == 1


def test_layers_by_hand():
    """A 3x3 convolution on 5x5 (no padding: 9 positions) of 2 x 4 x 9 weights, then 36 x 2 weights."""
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2))
    masks = {
        "0.weight": torch.zeros(4, 2, 3, 3, dtype=torch.bool),
        "3.weight": torch.ones(2, 36, dtype=torch.bool),
    }
    masks["0.weight"][0, 0, 0] = True
    masks["3.weight"][:, 1:] = False
    counted = macs(net, (2, 5, 5), masks)
    assert counted.per_layer == {"0": (9 * 72, 9 * 3), "3": (72, 2)}
    assert (counted.dense, counted.sparse) == (720, 29)


def test_sparse_is_positions_times_kept_weights_and_attention_is_fixed():
    net = vit_digits((1, 8, 8), 10, patch=2, dim=48, depth=3, heads=3)
    params = dict(net.named_parameters())
    masks = {n: torch.rand(p.shape) < 0.1 for n, p in params.items() if n.startswith("blocks") and p.ndim > 1}
    counted = macs(net, (1, 8, 8), masks)
    tokens = 17
    saved = sum(tokens * int((~m).sum()) for m in masks.values())
    assert counted.dense - counted.sparse == saved
    products = 2 * tokens * tokens * 48
    assert counted.per_layer["blocks.0.attention"] == (products, products)
    empty = {n: torch.zeros_like(m) for n, m in masks.items()}
    rest = counted.per_layer["patch_embedding"][0] + counted.per_layer["classifier"][0]
    assert macs(net, (1, 8, 8), empty).sparse == 3 * products + rest


def test_fused_attention_with_masks():
    net = Attention().same
    masks = {"in_proj_weight": torch.zeros(36, 12, dtype=torch.bool)}
    masks["in_proj_weight"][12:24] = True

    class Self(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net

        def forward(self, x):
            return self.inner(x, x, x)

    counted = macs(Self(), (7, 12), {f"inner.{n}": m for n, m in masks.items()})
    assert counted.dense - counted.sparse == 2 * 7 * 144


def test_the_model_is_left_as_it_was():
    net = resnet8((3, 8, 8), 10).train()
    before = {n: t.clone() for n, t in net.state_dict().items()}
    macs(net, (3, 8, 8), {"conv.weight": torch.zeros(16, 3, 3, 3, dtype=torch.bool)})
    assert net.training
    assert all(torch.equal(before[n], t) for n, t in net.state_dict().items())


def test_functional_calls_count():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(3, 2, 1))

        def forward(self, x):
            return F.conv1d(x, weight=self.w)

    assert macs(Net(), (2, 4)).per_layer == {"forward": (24, 24)}
