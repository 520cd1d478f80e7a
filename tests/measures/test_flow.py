"""Flow: equal in all layers of a chain, shared by what is parallel, 0 where no path is left, whatever the shifts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sparsebench.measures.flow import flow, layer_flows, without_shifts
from sparsebench.models import build

SHAPE = (1, 8, 8)


def net(name: str) -> nn.Module:
    """A network with batch norms that have seen data, and biases."""
    torch.manual_seed(0)
    made = build(name, SHAPE, 10)
    made(torch.randn(16, *SHAPE))
    for n, p in made.named_parameters():
        if n.endswith("bias"):
            nn.init.normal_(p)
    return made


def output_on_ones(made: nn.Module) -> float:
    """R of the definition: the summed outputs of the network with absolute weights and without shifts."""
    copy = without_shifts(made).double().eval()
    for tensor in copy.state_dict().values():
        tensor.abs_()
    return copy(torch.ones(1, *SHAPE, dtype=torch.float64)).sum().item()


@pytest.mark.parametrize("name", ["mlp", "vgg8"])
def test_every_layer_of_a_chain_carries_what_comes_out(name):
    made = net(name)
    wanted = output_on_ones(made)
    assert all(found == pytest.approx(wanted, rel=1e-12) for found in layer_flows(made, SHAPE).values())


@pytest.mark.parametrize("name", ["resnet8", "wide_resnet"])
def test_beside_a_shortcut_a_layer_carries_a_part(name):
    made = net(name)
    wanted, found = output_on_ones(made), layer_flows(made, SHAPE)
    assert found["conv.weight"] == pytest.approx(wanted)
    assert found["classifier.weight"] == pytest.approx(wanted)
    assert min(found.values()) < 0.9 * wanted
    assert max(found.values()) <= wanted * (1 + 1e-12)


def test_a_network_without_a_path_has_no_flow():
    """One weight is left in each layer, but no unit has both an input and an output."""
    made = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 2))
    for layer, place in ((made[1], (0, 0)), (made[3], (0, 1))):
        weight = torch.zeros_like(layer.weight)
        weight[place] = 1.0
        layer.weight.data = weight
    subject = SimpleNamespace(net=made, data=SimpleNamespace(input_shape=SHAPE))
    assert flow(subject) == {"total": 0.0, "spread": None, "layers": {"1.weight": 0.0, "3.weight": 0.0}}
    made[3].weight.data[0, 0] = 2.0
    assert flow(subject)["total"] == 2.0
    assert flow(subject)["spread"] == 0.0


def test_the_network_is_left_alone():
    made = net("resnet8").train()
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    layer_flows(made, SHAPE)
    assert made.training
    assert all(torch.equal(before[name], tensor) for name, tensor in made.state_dict().items())
    assert all(p.grad is None for p in made.parameters())
