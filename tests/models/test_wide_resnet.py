"""WRN-d-k against its definition written out step by step, its counts, and narrower networks of its kind."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sparsebench.errors import UsageError
from sparsebench.functional import prune
from sparsebench.metrics.flops import macs
from sparsebench.models import build
from sparsebench.models.narrow import narrowed
from sparsebench.scope import scope_of

CIFAR = (3, 32, 32)


def by_hand(state: dict[str, Tensor], x: Tensor, blocks: int) -> Tensor:
    """The network's definition, from its weights alone, in evaluation mode."""

    def norm(name: str, t: Tensor) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{k}"][:, None, None] for k in ("running_mean", "running_var", "weight", "bias")
        )
        return weight * (t - mean) / (var + 1e-5).sqrt() + bias

    x = F.conv2d(x, state["conv.weight"], padding=1)
    for stage in range(3):
        for i in range(blocks):
            stride, at = (2 if stage and not i else 1), f"stages.{stage}.{i}"
            rectified = norm(f"{at}.bn1", x).clamp_min(0)
            inner = F.conv2d(rectified, state[f"{at}.conv1.weight"], stride=stride, padding=1)
            inner = F.conv2d(norm(f"{at}.bn2", inner).clamp_min(0), state[f"{at}.conv2.weight"], padding=1)
            if i == 0:
                x = F.conv2d(rectified, state[f"{at}.shortcut.weight"], stride=stride)
            x = x + inner
    pooled = norm("bn", x).clamp_min(0).flatten(2).mean(2)
    return pooled @ state["classifier.weight"].T + state["classifier.bias"]


@pytest.mark.parametrize("depth", [10, 22])
def test_computes_what_is_written(depth):
    torch.manual_seed(0)
    net = build("wide_resnet", CIFAR, 5, depth=depth, channels=(4, 8, 8, 12), dropout=0.3).double()
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point() and ".bn" in f".{name}":
            tensor.copy_(torch.rand_like(tensor) + 0.5)
    x = torch.randn(3, *CIFAR, dtype=torch.float64)
    torch.testing.assert_close(net.eval()(x), by_hand(net.state_dict(), x, (depth - 4) // 6))


def test_wrn_22_2_is_that_of_the_experiments():
    """Its weights by the formula of the widths, shortcuts included; 19 convolutions of 3x3 with the stem."""
    net = build("wrn_22_2", CIFAR, 10)
    widths, last, convolutions = (32, 64, 128), 16, 3 * 16 * 9
    for width in widths:
        convolutions += last * width * 9 + 5 * width * width * 9 + last * width
        last = width
    assert scope_of(net).size == convolutions + 128 * 10
    assert sum(name.endswith(("conv1.weight", "conv2.weight", "conv.weight")) for name in scope_of(net).prunable) == 19
    assert [stage[0].conv1.out_channels for stage in net.stages] == [32, 64, 128]


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    net = build("wide_resnet", (1, 8, 8), 3, depth=10, channels=(4, 4, 4, 4), dropout=0.5)
    x = torch.randn(4, 1, 8, 8)
    assert not torch.equal(net.train()(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


@pytest.mark.parametrize("sparsity", [0.8, 0.9, 0.95])
def test_small_dense_comes_close_to_the_size_asked_for(sparsity):
    found = narrowed("wrn_22_2", {"dropout": 0.3}, CIFAR, 10, sparsity, "params")
    assert 0.95 * found.allowed <= found.size <= found.allowed
    stem, *stages = found.arguments["channels"]
    assert stages[0] / stages[2] == pytest.approx(1 / 4, rel=0.1)
    net = build("wrn_22_2", CIFAR, 10, **found.arguments)
    assert net.conv.out_channels == stem


def test_whole_units_can_be_taken_out():
    """Smaller and masked give the same logits, although norms come before the convolutions here."""
    torch.manual_seed(0)
    nets = [build("wide_resnet", (1, 8, 8), 10, depth=10, channels=(4, 8, 8, 8)) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    x = torch.randn(5, 1, 8, 8)
    for net, shrink in zip(nets, (True, False), strict=True):
        prune(net, "l1", sparsity=0.5, data=x, shrink=shrink)
    assert macs(nets[0], (1, 8, 8)).dense < 0.6 * macs(nets[1], (1, 8, 8)).dense
    torch.testing.assert_close(nets[0].eval()(x), nets[1].eval()(x))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"depth": 20}, r"depth=20: .* 6 n \+ 4 layers"),
        ({"channels": (16, 32)}, "four numbers are wanted"),
        ({"dropout": 1.0}, r"must be in \[0, 1\)"),
    ],
)
def test_what_is_impossible_is_explained(args, message):
    with pytest.raises(UsageError, match=message):
        build("wide_resnet", CIFAR, 10, **args)
