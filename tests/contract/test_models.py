"""Every network: prunable, trains a step under masks, and the masked weights stay zero."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from sparsebench.callbacks.upkeep import Upkeep
from sparsebench.functional import pruning
from sparsebench.models import build
from sparsebench.models.classifier import make_optimizer
from sparsebench.recipe import Recipe
from sparsebench.registry import network
from sparsebench.scope import scope_of

SMALL = {
    "vit_b16": None,
    "resnet18": {"width": 8},
    "resnet50": {"width": 4},
    "vgg11": {"width": 8},
    "vgg16": {"width": 8},
    "vgg16_fan_in": {"width": 8},
    "wide_resnet": {"depth": 10, "channels": (4, 8, 8, 8)},
}
SMALL |= {
    "vgg19": {"width": 8},
    "resnet32": {"width": 4},
    "resnet56": {"width": 4},
    "vit_small": None,
    "vit_tiny": None,
}
"""Arguments that make large networks quick; None: only its parameters are looked at."""


@pytest.mark.parametrize("name", network.names())
def test_only_matrices_and_kernels_are_prunable(name):
    size = 224 if name == "vit_b16" else 32
    with torch.device("meta"):
        scope = scope_of(build(name, (3, size, size), 10))
    assert all(len(shape) in (2, 4) for shape in scope.shapes.values())
    assert any("classifier" in n or "fc" in n or "head" in n for n in scope.prunable)
    for n, reason in scope.excluded.items():
        assert "norm" in reason or reason == "bias" or reason.startswith("not a weight"), f"{n}: {reason}"


@pytest.mark.parametrize("name", [n for n in network.names() if SMALL.get(n, {}) is not None])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_trains_a_step_with_pruned_weights_at_zero(name, optimizer):
    torch.manual_seed(0)
    net = build(name, (1, 8, 8), 10, **SMALL.get(name, {}))
    masks = pruning(net, "magnitude", sparsity=0.9).masks
    masks.apply(net)
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    steps = make_optimizer(net, Recipe(epochs=1, rate=0.01, optimizer=optimizer))
    upkeep = Upkeep(dict(net.named_parameters()), masks)
    upkeep.attach([steps])
    cross_entropy(net(torch.randn(4, 1, 8, 8)), torch.tensor([0, 1, 2, 3])).backward()
    upkeep.mask_gradients()
    steps.step()
    assert upkeep.leaks([steps]) == 0
    assert all(torch.isfinite(p).all() for p in net.parameters())
    assert not torch.equal(net.get_parameter(list(masks)[-1]), before[list(masks)[-1]])
