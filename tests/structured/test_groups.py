"""Which units are found, what belongs to them, and why others are left out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparsebench.errors import UsageError
from sparsebench.structured import unit_groups, units_left_out
from tests.networks import network

IMAGE = torch.randn(3, 1, 8, 8)


def owned(group, role: str) -> dict[str, list[list[int]]]:
    return {m.name: m.index.tolist() for m in group.of(role)}


def test_residual_ties_are_one_group_with_all_their_filters_and_readers():
    groups = {group.name: group for group in unit_groups(network("resnet8"), IMAGE)}
    assert {name: group.size for name, group in groups.items()} == {
        "conv.weight": 4,
        "stages.0.0.conv1.weight": 4,
        "stages.1.0.conv1.weight": 8,
        "stages.1.0.conv2.weight": 8,
        "stages.2.0.conv1.weight": 16,
        "stages.2.0.conv2.weight": 16,
    }
    stem = groups["conv.weight"]
    assert set(owned(stem, "filter")) == {"conv.weight", "stages.0.0.conv2.weight"}
    assert set(owned(stem, "norm")) == {"bn.weight", "stages.0.0.bn2.weight"}
    assert set(owned(stem, "vector")) == {"bn.bias", "stages.0.0.bn2.bias"}
    assert set(owned(stem, "buffer")) == {
        f"{norm}.{leaf}" for norm in ("bn", "stages.0.0.bn2") for leaf in ("running_mean", "running_var")
    }
    readers = {"stages.0.0.conv1.weight", "stages.1.0.conv1.weight", "stages.1.0.shortcut.0.weight"}
    assert set(owned(stem, "input")) == readers
    assert all(m.dim == 1 and m.index.tolist() == [[0], [1], [2], [3]] for m in stem.of("input"))


def test_after_a_flatten_one_channel_owns_several_columns():
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 5), nn.ReLU(), nn.Linear(5, 2))
    channels, neurons = unit_groups(net, IMAGE)
    assert owned(channels, "input") == {"3.weight": [list(range(36 * i, 36 * (i + 1))) for i in range(3)]}
    assert owned(neurons, "input") == {"5.weight": [[i] for i in range(5)]}


def test_a_depthwise_filter_goes_with_the_channel_it_filters():
    net = nn.Sequential(
        nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1), nn.Flatten()
    )
    (group,) = unit_groups(net, IMAGE)
    assert owned(group, "filter") == {"0.weight": [[0], [1], [2], [3]], "1.weight": [[0], [1], [2], [3]]}
    assert set(owned(group, "vector")) == {"0.bias", "1.bias", "2.bias"}


def test_heads_own_their_rows_of_query_key_and_value_and_their_columns_of_the_output():
    heads, neurons = unit_groups(network("vit"), IMAGE)
    first = [*range(8), *range(16, 24), *range(32, 40)]
    rows = [first, [i + 8 for i in first]]
    assert owned(heads, "filter") == {"blocks.0.attention.qkv.weight": rows}
    assert owned(heads, "vector") == {"blocks.0.attention.qkv.bias": rows}
    assert owned(heads, "input") == {"blocks.0.attention.proj.weight": [[*range(8)], [*range(8, 16)]]}
    assert (neurons.name, neurons.size) == ("blocks.0.fc1.weight", 32)


class Odd(nn.Module):
    """conv1 -> between -> conv2, then the classes."""

    def __init__(self, between: nn.Module, width: int = 4, groups: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 1)
        self.between = between
        self.conv2 = nn.Conv2d(width, 4, 1, groups=groups)
        self.classifier = nn.Linear(4, 2)

    def forward(self, x):
        return self.classifier(self.conv2(self.between(self.conv1(x))).mean((2, 3)))


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x):
        return x * self.scale


class Half(nn.Module):
    def forward(self, x):
        return x.split(2, 1)[0]


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (Odd(nn.GroupNorm(2, 4)), "passes between (GroupNorm)"),
        (Odd(nn.Identity(), groups=2), "a grouped convolution"),
        (Odd(nn.Softmax(1)), "mixes channels"),
        (Odd(Scaled()), "is tied to between.scale, a parameter of no layer"),
        (Odd(Half(), width=2), "only some of its units"),
    ],
)
def test_what_cannot_shrink_is_left_out_with_the_reason(net, words):
    left_out = units_left_out(net, IMAGE)
    assert words in left_out["conv1.weight"]
    assert left_out["classifier.weight"] == "reaches the output of the network"
    assert "conv1.weight" in {group.name for group in unit_groups(Odd(nn.ReLU()), IMAGE)}


def test_frozen_shared_and_unprunable_weights_are_left_out():
    frozen = network("mlp")
    frozen.fc2.weight.requires_grad_(False)
    assert units_left_out(frozen, IMAGE)["fc1.weight"] == "touches fc2.weight, which is frozen"
    assert not frozen.fc2.weight.requires_grad
    tied = nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.Linear(9, 9), nn.Linear(9, 9), nn.Linear(9, 2))
    tied[3].weight = tied[2].weight
    assert "which two layers share" in units_left_out(tied, IMAGE)["1.weight"]


def test_the_residual_width_of_a_transformer_is_left_out():
    assert "LayerNorm" in units_left_out(network("vit"), IMAGE)["patch_embedding.weight"]


def test_tracing_leaves_modes_and_statistics_alone():
    net = network("resnet8").train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    unit_groups(net, IMAGE)
    assert all(module.training for module in net.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_mistakes_are_named():
    with pytest.raises(UsageError, match="no unit that could be removed"):
        unit_groups(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), IMAGE)
    with pytest.raises(UsageError, match="not one batch of inputs"):
        unit_groups(network("mlp"), {"x": IMAGE})
    with pytest.raises(UsageError, match="cannot be traced"):
        unit_groups(network("mlp"), torch.randn(2, 3))
