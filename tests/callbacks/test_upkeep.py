"""Upkeep: pruned entries of weights, gradients and optimiser state."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from sparsebench.callbacks.upkeep import LEAVE_ZERO, Upkeep
from sparsebench.masks import Masks

MASK = torch.arange(12).view(3, 4) % 3 == 0


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def attached(net, optimizer, **how):
    masks = Masks({"weight": MASK})
    masks.apply(net)
    upkeep = Upkeep(dict(net.named_parameters()), masks)
    upkeep.attach([optimizer], **how)
    return upkeep


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, fused=True),
        lambda p: torch.optim.AdamW(p, 0.1),
        lambda p: torch.optim.RMSprop(p, 0.1, momentum=0.9),
    ],
    ids=["sgd", "fused", "adamw", "rmsprop"],
)
def test_weights_and_state_stay_zero_where_unmasked_gradients_would_revive_them(net, make):
    optimizer = make(net.parameters())
    upkeep = attached(net, optimizer)
    for _ in range(5):
        net.zero_grad()
        net(torch.randn(8, 4)).square().sum().backward()
        upkeep.mask_gradients()
        optimizer.step()
        assert (net.weight[~MASK] == 0).all()
        assert (net.weight[MASK] != 0).all()
    assert upkeep.leaks([optimizer]) == 0


HARD = {
    torch.optim.SGD: [{"momentum": 0.9, "weight_decay": 0.1, "nesterov": True}, {"momentum": 0.9, "maximize": True}],
    torch.optim.Adam: [{"weight_decay": 0.1}, {"amsgrad": True}],
    torch.optim.AdamW: [{"weight_decay": 0.1}, {"weight_decay": 0.1, "amsgrad": True, "maximize": True}],
}


@pytest.mark.parametrize("how", ["fused", "foreach", "loop"])
@pytest.mark.parametrize(
    ("kind", "settings"), [(kind, settings) for kind in LEAVE_ZERO for settings in HARD[kind]], ids=str
)
def test_spared_hook_changes_no_bit(net, kind, settings, how):
    hooked, spared = net, deepcopy(net)
    flags = {"fused": how == "fused", "foreach": how == "foreach"}
    optimizers = [kind(module.parameters(), 0.1, **settings, **flags) for module in (hooked, spared)]
    upkeeps = [
        attached(module, optimizer, gradients_are_masked=module is spared)
        for module, optimizer in zip((hooked, spared), optimizers, strict=True)
    ]
    assert [len(upkeep._handles) for upkeep in upkeeps] == [1, 0]
    for _ in range(20):
        x = torch.randn(8, 4)
        for module, optimizer, upkeep in zip((hooked, spared), optimizers, upkeeps, strict=True):
            module.zero_grad()
            module(x).square().sum().backward()
            upkeep.mask_gradients()
            optimizer.step()
    assert torch.equal(hooked.weight.view(torch.int32), spared.weight.view(torch.int32))
    assert upkeeps[1].leaks([optimizers[1]]) == 0


def test_a_subclass_that_moves_zeros_is_hooked(net):
    class Noisy(torch.optim.SGD):
        @torch.no_grad()
        def step(self, closure=None):
            super().step(closure)
            for parameter in self.param_groups[0]["params"]:
                parameter.add_(torch.randn_like(parameter))

    optimizer = Noisy(net.parameters(), 0.1)
    upkeep = attached(net, optimizer, gradients_are_masked=True)
    net(torch.randn(8, 4)).square().sum().backward()
    upkeep.mask_gradients()
    optimizer.step()
    assert upkeep.leaks() == 0
    assert upkeep.undisturbed([])


def test_detached_it_lets_go(net):
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    upkeep = attached(net, optimizer)
    upkeep.detach()
    net(torch.randn(8, 4)).square().sum().backward()
    optimizer.step()
    assert upkeep.leaks() == int((~MASK).sum())


def test_leaks_counts_weights_and_each_state_tensor(net):
    optimizer = torch.optim.AdamW(net.parameters(), 0.1)
    upkeep = attached(net, optimizer)
    net(torch.randn(8, 4)).square().sum().backward()
    optimizer.step()
    # The gradients were not masked: both moments hold all pruned entries.
    assert upkeep.leaks([optimizer]) == 2 * int((~MASK).sum())
    upkeep.mask_optimizer_state([optimizer])
    assert upkeep.leaks([optimizer]) == 0
    assert (optimizer.state[net.weight]["exp_avg"][MASK] != 0).all()
    assert optimizer.state[net.weight]["step"] == 1


@pytest.mark.parametrize(
    ("kept", "value", "expected"),
    [
        *[(False, -0.0, True), (False, 1e-40, False), (False, -1e30, False), (False, float("nan"), False)],
        *[(True, -5.0, True), (True, float("nan"), False), (True, float("-inf"), False)],
    ],
)
@pytest.mark.parametrize("where", ["weight", "momentum"])
def test_undisturbed_sees_every_stray_and_every_value_that_is_not_finite(net, kept, value, expected, where):
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    upkeep = attached(net, optimizer)
    optimizer.state[net.weight]["momentum_buffer"] = torch.where(MASK, 1.0, 0.0)
    assert upkeep.undisturbed([optimizer])
    tensor = net.weight if where == "weight" else optimizer.state[net.weight]["momentum_buffer"]
    with torch.no_grad():
        tensor[tuple(torch.where(MASK, kept, not kept).nonzero()[1])] = value
    assert upkeep.undisturbed([optimizer]) is expected


def test_masks_change_by_name_not_by_position():
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    ones, none = torch.ones(2, 2, dtype=torch.bool), torch.zeros(2, 2, dtype=torch.bool)
    upkeep = Upkeep(dict(net.named_parameters()), Masks({"0.weight": ones, "1.weight": ones}))
    upkeep.change(Masks({"1.weight": none, "0.weight": ones}))
    upkeep.mask_weights()
    assert (net[0].weight != 0).all()
    assert (net[1].weight == 0).all()


def test_factors_share_the_memory_layout_of_their_weights():
    net = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    upkeep = Upkeep(dict(net.named_parameters()), Masks({"weight": torch.rand(4, 4, 3, 3) > 0.5}))
    assert upkeep._factors["weight"].stride() == net.weight.stride()
