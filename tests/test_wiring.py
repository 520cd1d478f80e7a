"""Wiring: which layers meet, through everything a network can put between them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import densenet121, mobilenet_v2, resnet50, vit_b_16

from sparsebench.wiring import Use, connections, uses


def seen(net: nn.Module, x: Tensor) -> dict[str, Use]:
    return {use.name.removesuffix(".weight"): use for use in uses(net.eval(), lambda: net(x))}


def rows(layer: nn.Module) -> Tensor:
    return layer.weight.detach().double().square().flatten(1).sum(1)


def columns(layer: nn.Module) -> Tensor:
    return layer.weight.detach().double().square().transpose(0, 1).flatten(1).sum(1)


def close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected.detach().double().expand(got.shape))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


BETWEEN = {
    "nothing": [],
    "relu in place": [nn.ReLU(inplace=True)],
    "gelu, dropout": [nn.GELU(), nn.Dropout(0.5)],
    "max pool": [nn.ReLU(), nn.MaxPool2d(2)],
    "padded average pool": [nn.AvgPool2d(3, 2, padding=1)],
    "adaptive pool": [nn.AdaptiveAvgPool2d(2)],
    "max pool with indices": [nn.AdaptiveMaxPool2d(1)],
    "zero padding": [nn.ZeroPad2d(2)],
    "channels last": [nn.ReLU()],
}


@pytest.mark.parametrize("what", BETWEEN)
def test_what_lies_between_two_convolutions_changes_nothing(what):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), *BETWEEN[what], nn.Conv2d(4, 5, 1, bias=False))
    x = torch.randn(1, 3, 8, 8)
    if what == "channels last":
        net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    found = seen(net, x)
    close(found["0"].after, columns(net[-1]))
    close(found[str(len(net) - 1)].before, rows(net[0]))
    close(found["0"].before, torch.ones(()))
    close(found[str(len(net) - 1)].after, torch.ones(()))


@pytest.mark.parametrize(
    "flatten", [lambda x: x.flatten(1), lambda x: x.view(x.size(0), -1), lambda x: x.reshape(1, -1)]
)
def test_a_flattened_channel_owns_several_columns(flatten):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 3, 3), nn.Linear(3 * 4, 2)

        def forward(self, x):
            return self.fc(flatten(F.max_pool2d(self.conv(x).relu_(), 2)))

    net = Net()
    found = seen(net, torch.randn(1, 1, 6, 6))
    close(found["conv"].after, columns(net.fc).view(3, 4).sum(1))
    close(found["fc"].before, rows(net.conv).repeat_interleave(4))


def test_batch_norms_before_and_behind_layers_scale_what_passes():
    net = nn.Sequential(
        nn.BatchNorm2d(2),
        nn.Conv2d(2, 3, 1),
        nn.BatchNorm2d(3, affine=False),
        nn.Flatten(),
        nn.Linear(3, 4),
        nn.BatchNorm1d(4, eps=0.5),
    )
    for bn in (net[0], net[2], net[5]):
        nn.init.uniform_(bn.running_var, 0.1, 2)
    nn.init.normal_(net[0].weight)
    found = seen(net, torch.randn(1, 2, 1, 1))
    middle = 1 / (net[2].running_var.double() + 1e-5)
    close(found["1"].before, net[0].weight.double() ** 2 / (net[0].running_var.double() + 1e-5))
    close(found["1"].after, middle * columns(net[4]))
    close(found["4"].before, middle * rows(net[1]))
    close(found["4"].after, 1 / (net[5].running_var.double() + 0.5))


def test_a_batch_norm_that_uses_the_statistics_of_the_batch_ends_the_chain():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2))
    found = seen(net, torch.randn(2, 3))
    close(found["0"].after, torch.ones(()))
    close(found["2"].before, torch.ones(()))


class Skip(nn.Module):
    """``b(f(a(x)) + skip)`` with a skip that is chosen by name."""

    def __init__(self, skip: str):
        super().__init__()
        self.skip = skip
        self.stem, self.a, self.side, self.b = (nn.Conv2d(4, 4, 1, bias=False) for _ in range(4))

    def forward(self, x):
        x = self.stem(x)
        if self.skip != "linear":
            x = F.relu(x)
        out = self.a(x)
        if self.skip == "in place":
            out += x
        elif self.skip == "projection":
            out = torch.add(out, self.side(x))
        elif self.skip == "weighted":
            out = torch.add(out, x, alpha=2)
        elif self.skip == "constant":
            out = out + 1 + torch.ones(4, 1, 1)
        else:
            out = out + x
        return self.b(out)


def test_a_weighted_sum_is_no_chain():
    net = Skip("weighted")
    found = seen(net, torch.randn(1, 4, 2, 2))
    close(found["b"].before, torch.ones(()))
    close(found["a"].after, torch.ones(()))


@pytest.mark.parametrize("skip", ["identity", "in place", "projection", "constant", "linear"])
def test_branches_of_a_sum_add_up(skip):
    net = Skip(skip)
    found = seen(net, torch.randn(1, 4, 2, 2))
    branch = {"projection": rows(net.side), "constant": 0, "linear": rows(net.stem)}.get(skip, 1)
    close(found["b"].before, rows(net.a) + branch)
    further = {"projection": columns(net.side), "constant": 0, "linear": columns(net.b)}.get(skip, 1)
    close(found["stem"].after, columns(net.a) + further)
    close(found["a"].after, columns(net.b))


def test_a_skip_behind_an_activation_and_a_norm_carries_the_norms_factor():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.bn, self.a, self.b = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x):
            x = self.bn(self.stem(x).relu())
            return self.b(self.a(x) + x)

    net = Net()
    nn.init.normal_(net.bn.weight)
    factor = net.bn.weight.detach().double() ** 2 / (1 + 1e-5)
    found = seen(net, torch.randn(2, 3))
    close(found["stem"].after, factor * (columns(net.a) + 1))
    close(found["b"].before, rows(net.a) + factor)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_groups_and_transposed_convolutions(kind, groups):
    net = nn.Sequential(nn.Conv2d(3, 4, 1), kind(4, 8, 3, groups=groups), nn.Conv2d(8, 2, 1))
    found = seen(net, torch.randn(1, 3, 5, 5))
    full = torch.zeros(8, 4, dtype=torch.float64)
    squares = net[1].weight.detach().double().square().sum((2, 3))
    for o in range(8):
        for i in range(4):
            if o // (8 // groups) == i // (4 // groups):
                o_in, i_in = o % (8 // groups), i % (4 // groups)
                full[o, i] = squares[i, o_in] if kind is nn.ConvTranspose2d else squares[o, i_in]
    close(found["0"].after, full.sum(0))
    close(found["2"].before, full.sum(1))
    assert found["1"].groups == groups
    table = connections(net[1].weight, groups, kind is nn.ConvTranspose2d)
    torch.testing.assert_close(torch.block_diag(*table), full)


def test_concatenated_and_split_channels_keep_their_own_energy():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c, self.d = nn.Linear(3, 2), nn.Linear(3, 4), nn.Linear(6, 4), nn.Linear(2, 1)

        def forward(self, x):
            left, right = self.c(torch.cat([self.a(x), self.b(x).relu()], dim=1)).chunk(2, dim=1)
            return self.d(left), right.softmax(1)

    net = Net()
    found = seen(net, torch.randn(1, 3))
    close(found["c"].before, torch.cat([rows(net.a), rows(net.b)]))
    close(found["a"].after, columns(net.c)[:2])
    close(found["b"].after, columns(net.c)[2:])
    close(found["c"].after, torch.cat([columns(net.d), torch.ones(2)]))
    close(found["d"].before, rows(net.c)[:2])


class Joined(nn.Module):
    """``last(cat(a(x), other))`` with ``other`` and ``last`` by name."""

    def __init__(self, other: str, last: str):
        super().__init__()
        self.a, self.b, self.last = (
            nn.Linear(3, 2),
            nn.Linear(3, 4),
            nn.Linear(6, 4) if last == "linear" else nn.Softmax(1),
        )
        self.other = other

    def forward(self, x):
        return self.last(torch.cat([self.a(x), torch.ones(1, 4) if self.other == "constant" else self.b(x)], dim=1))


def test_concatenated_layers_that_nothing_takes_further_count_one_each():
    found = seen(Joined("layer", "softmax"), torch.randn(1, 3))
    close(found["a"].after, torch.ones(()))
    close(found["b"].after, torch.ones(()))


def test_a_concatenation_with_a_constant_is_no_chain():
    found = seen(Joined("constant", "linear"), torch.randn(1, 3))
    close(found["a"].after, torch.ones(()))
    close(found["last"].before, torch.ones(()))


def test_a_constant_factor_counts_squared():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.scale = nn.Linear(3, 2), nn.Linear(2, 1), nn.Parameter(torch.tensor([2.0, -3.0]))

        def forward(self, x):
            return self.b(self.scale * self.a(x) / 2)

    net = Net()
    found = seen(net, torch.randn(1, 3))
    close(found["b"].before, rows(net.a) * torch.tensor([1.0, 2.25]))
    close(found["a"].after, columns(net.b) * torch.tensor([1.0, 2.25]))


BREAKS = {
    "layer norm": nn.LayerNorm(4),
    "softmax": nn.Softmax(-1),
    "group norm": nn.GroupNorm(2, 4),
    "attention": nn.TransformerEncoderLayer(4, 2, 4, batch_first=True),
}


@pytest.mark.parametrize("what", BREAKS)
def test_what_is_no_chain_counts_one(what):
    net = nn.Sequential(nn.Linear(3, 4), BREAKS[what], nn.Linear(4, 2))
    x = torch.randn(1, 5, 3) if what == "attention" else torch.randn(1, 3)
    found = seen(net, x)
    close(found["2"].before, torch.ones(()))
    if what != "attention":
        close(found["0"].after, torch.ones(()))


def test_a_gate_is_no_chain():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.gate, self.b = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            x = self.a(x)
            return self.b(x * self.gate(x).sigmoid())

    net = Gate()
    found = seen(net, torch.randn(1, 3))
    close(found["b"].before, torch.ones(()))
    # The product takes what an identity would take.
    close(found["a"].after, columns(net.gate) + 1)


def test_a_loop_over_a_stacked_tensor_and_token_indices_are_followed():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.a, self.b, self.c = nn.Embedding(5, 3), nn.Linear(3, 4), nn.Linear(2, 1), nn.Linear(2, 1)

        def forward(self, ids):
            x = self.words(ids[:, :2])
            left, right = self.a(x + x.relu()).unflatten(-1, (2, 2)).permute(2, 0, 1, 3)
            return self.b(left) + self.c(right)

    net = Net()
    found = seen(net, torch.tensor([[0, 3, 1]]))
    close(found["a"].before, torch.tensor(2.0))
    close(found["a"].after, torch.cat([columns(net.b), columns(net.c)]))


def test_a_layer_nobody_listens_to_counts_one():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.dead = nn.Linear(3, 4), nn.Linear(3, 4)

        def forward(self, x):
            self.dead(x)
            return self.a(x)

    found = seen(Net(), torch.randn(1, 3))
    close(found["dead"].after, torch.ones(()))


def test_a_model_of_one_layer_and_an_unbatched_input():
    net = nn.Linear(3, 2)
    (use,) = uses(net, lambda: net(torch.randn(3)))
    assert (use.name, use.before.tolist(), use.after.tolist()) == ("weight", [1.0] * 3, [1.0] * 2)


def test_nothing_of_the_model_changes():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True))
    x = torch.randn(1, 1, 5, 5)
    state, data = {n: t.clone() for n, t in net.state_dict().items()}, x.clone()
    seen(net, x)
    assert all(torch.equal(t, state[n]) for n, t in net.state_dict().items())
    assert torch.equal(x, data)
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert not net._forward_hooks
    assert not net._forward_pre_hooks


@pytest.mark.parametrize(
    ("build", "size", "chain"),
    [
        (resnet50, 64, ("layer1.0.conv1", "layer1.0.conv2")),
        (mobilenet_v2, 32, ("features.2.conv.0.0", "features.2.conv.1.0")),
        (densenet121, 32, ("features.denseblock1.denselayer1.conv1", "features.denseblock1.denselayer1.conv2")),
        (vit_b_16, 224, ("encoder.layers.encoder_layer_0.mlp.0", "encoder.layers.encoder_layer_0.mlp.3")),
    ],
)
def test_well_known_networks_are_understood(build, size, chain):
    net = build()
    found = seen(net, torch.randn(1, 3, size, size))
    linear_or_conv = {n for n, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert {n for n in linear_or_conv if "out_proj" not in n} <= found.keys()
    assert all(torch.isfinite(use.before).all() and torch.isfinite(use.after).all() for use in found.values())
    first, second = (net.get_submodule(name) for name in chain)
    scale = 1 if build is vit_b_16 else 1 / (1 + 1e-5)
    depthwise = getattr(second, "groups", 1) > 1
    close(found[chain[0]].after, scale * (rows(second) if depthwise else columns(second)))
    close(found[chain[1]].before, scale * rows(first))
