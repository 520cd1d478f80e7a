"""Scores of units against loops over weights, and Taylor against a factor on the outputs themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sparsebench.errors import UsageError
from sparsebench.structured import unit_groups, unit_scores
from tests.networks import NETWORKS, batches, network

KINDS = list(NETWORKS)
IMAGE = torch.randn(3, 1, 8, 8)

FILTERS = {
    "resnet8": {
        "conv.weight": ("conv", "stages.0.0.conv2"),
        "stages.0.0.conv1.weight": ("stages.0.0.conv1",),
        "stages.1.0.conv1.weight": ("stages.1.0.conv1",),
        "stages.1.0.conv2.weight": ("stages.1.0.conv2", "stages.1.0.shortcut.0"),
        "stages.2.0.conv1.weight": ("stages.2.0.conv1",),
        "stages.2.0.conv2.weight": ("stages.2.0.conv2", "stages.2.0.shortcut.0"),
    },
    "mlp": {"fc1.weight": ("fc1",), "fc2.weight": ("fc2",)},
    "vit": {"blocks.0.attention.qkv.weight": ("blocks.0.attention.qkv",), "blocks.0.fc1.weight": ("blocks.0.fc1",)},
    "vgg": {
        f"features.conv{i}.weight": (f"features.conv{i}",) for i in ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3")
    },
}
"""By hand: which layers compute the units of each group."""


def perturbed(kind: str) -> nn.Module:
    """A network whose norms and biases are not at their initial values, so that each of them matters."""
    net = network(kind)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if tensor.dim() == 1 and tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape, generator=generator) * 0.5 * (1 if "var" in name else 0.5))
    return net.eval()


def filters(net: nn.Module, layer: str) -> np.ndarray:
    """[units, entries]: rows of a layer; of attention, head by head."""
    weight = net.get_submodule(layer).weight.detach().double().numpy()
    if layer.endswith("qkv"):
        return weight.reshape(3, 2, 8, 16).transpose(1, 0, 2, 3).reshape(2, -1)
    return weight.reshape(len(weight), -1)


def l1(rows):
    return [sum(abs(w) for w in row) for row in rows]


def l2(rows):
    return [sum(w * w for w in row) ** 0.5 for row in rows]


def fpgm(rows):
    return [sum(np.sqrt(((a - b) ** 2).sum()) for b in rows) for a in rows]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("definition", [l1, l2, fpgm])
def test_weight_scores_against_loops(kind, definition):
    net = network(kind)
    scores = unit_scores(net, unit_groups(net, IMAGE), definition.__name__)
    assert set(scores) == set(FILTERS[kind])
    for name, layers in FILTERS[kind].items():
        expected = np.mean([definition(filters(net, layer)) for layer in layers], axis=0)
        np.testing.assert_allclose(scores[name].numpy(), expected, rtol=1e-4)


def test_fpgm_of_many_near_equal_filters_is_accurate():
    net = nn.Sequential(nn.Linear(50, 40), nn.Linear(40, 2))
    with torch.no_grad():
        net[0].weight.copy_(100 + 1e-3 * torch.randn(40, 50))
    (score,) = unit_scores(net, unit_groups(net, torch.randn(2, 50)), "fpgm").values()
    np.testing.assert_allclose(score.numpy(), fpgm(net[0].weight.detach().double().numpy()), rtol=1e-4)


@pytest.mark.parametrize("kind", ["resnet8", "vgg"])
def test_bn_scale_is_the_mean_absolute_scale_of_the_norms(kind):
    net = perturbed(kind)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight[::2] *= -1
    scores = unit_scores(net, unit_groups(net, IMAGE), "bn_scale")
    for name, layers in FILTERS[kind].items():
        norms = [layer.replace("conv", "bn").replace("shortcut.0", "shortcut.1") for layer in layers]
        expected = np.mean([np.abs(net.get_submodule(n).weight.detach().numpy()) for n in norms], axis=0)
        np.testing.assert_allclose(scores[name].numpy(), expected, rtol=1e-6)


def gated_layers(kind: str, layers: tuple[str, ...]) -> list[str]:
    """The module behind whose output the gate of each layer sits."""
    behind = {"resnet8": lambda n: n.replace("conv", "bn").replace("shortcut.0", "shortcut.1")}
    behind["vgg"] = behind["resnet8"]
    return [behind.get(kind, lambda n: n)(layer) for layer in layers]


def gate_derivatives(net: nn.Module, places: dict[str, int], batch) -> dict[str, np.ndarray]:
    """dL/dz for a factor z = 1 on every unit's output, by hooks and autograd."""
    gates = {place: torch.ones(units, dtype=torch.float64, requires_grad=True) for place, units in places.items()}

    def multiply(gate):
        return lambda module, inputs, out: out * (gate[:, None, None] if out.dim() == 4 else gate)

    def multiply_heads(gate):
        # Heads are laid side by side in the input of the output projection.
        return lambda module, inputs: (inputs[0] * gate.repeat_interleave(inputs[0].shape[-1] // len(gate)),)

    handles = []
    for place, gate in gates.items():
        module = net.get_submodule(place.removesuffix("qkv") + "proj" if place.endswith("qkv") else place)
        if place.endswith("qkv"):
            handles.append(module.register_forward_pre_hook(multiply_heads(gate)))
        else:
            handles.append(module.register_forward_hook(multiply(gate)))
    x, y = batch
    grads = torch.autograd.grad(cross_entropy(net(x.double()), y), list(gates.values()))
    for handle in handles:
        handle.remove()
    return {place: grad.numpy() for place, grad in zip(gates, grads, strict=True)}


@pytest.mark.parametrize("kind", KINDS)
def test_taylor_is_the_squared_derivative_by_a_gate_summed_over_mini_batches(kind):
    net = perturbed(kind).double()
    data = [(x.double(), y) for x, y in batches()]
    groups = {group.name: group for group in unit_groups(net, IMAGE.double())}
    scores = unit_scores(net, list(groups.values()), "taylor", data)
    for name, layers in FILTERS[kind].items():
        places = dict.fromkeys(gated_layers(kind, layers), groups[name].size)
        squares = [list(gate_derivatives(net, places, batch).values()) for batch in batches()]
        expected = np.sum([np.mean(np.square(parts), axis=0) for parts in squares], axis=0)
        np.testing.assert_allclose(scores[name].numpy(), expected, rtol=1e-4, atol=1e-14)


def test_taylor_of_two_mini_batches_is_the_sum_of_each_and_not_of_their_mean():
    net = network("mlp")
    groups = unit_groups(net, IMAGE)
    parts = [unit_scores(net, groups, "taylor", [batch]) for batch in batches()]
    both = unit_scores(net, groups, "taylor", batches())
    together = unit_scores(net, groups, "taylor", [tuple(map(torch.cat, zip(*batches(), strict=True)))])
    for name, score in both.items():
        torch.testing.assert_close(score, parts[0][name] + parts[1][name])
        assert not torch.allclose(score, together[name], rtol=1e-2)


def test_random_filters_depend_on_the_seed_alone_and_are_uniform_also_where_units_are_tied():
    net, other = network("resnet8"), network("resnet8")
    nn.init.zeros_(other.conv.weight)
    groups = unit_groups(net, IMAGE)
    torch.manual_seed(17)
    first = unit_scores(net, groups, "random_filter", seed=1)
    torch.manual_seed(18)
    again = unit_scores(other, groups, "random_filter", seed=1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv.weight"], unit_scores(net, groups, "random_filter", seed=2)["conv.weight"])
    many = torch.cat([unit_scores(net, groups, "random_filter", seed=s)["conv.weight"] for s in range(200)])
    assert float(many.var()) == pytest.approx(1 / 12, rel=0.1)


def test_scoring_leaves_the_network_as_it_was():
    net = network("resnet8").train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    unit_scores(net, unit_groups(net, IMAGE), "taylor", batches())
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert net.training


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("magnitude", {}, "scores single weights"),
        ("taylor", {}, "needs data"),
        ("taylor", {"data": []}, "no batches"),
        ("bn_scale", {}, "no batch norm scales the units of fc1.weight, fc2.weight"),
        ("l1", {"power": 2}, "no argument 'power'"),
    ],
)
def test_mistakes_are_named(name, options, words):
    net = network("mlp")
    with pytest.raises(UsageError, match=words):
        unit_scores(net, unit_groups(net, IMAGE), name, **options)
