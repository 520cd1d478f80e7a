"""The rivals of training_step.py, mask_upkeep.py and dead_neurons.py compute the same thing."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "perf"))

import mask_upkeep
import training_step

from sparsebench.callbacks.probe import in_small_batches
from sparsebench.metrics.dead_neurons import dead_neuron_rates

SETTINGS = {
    "mlp": training_step.digits_mlp,
    "resnet20": partial(training_step.cifar_sized_resnet20, images=36, batch=12, width=4),
}


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("masked", [False, True])
def test_the_bare_loop_and_the_fit_end_with_the_same_weights(kind, masked):
    setting = SETTINGS[kind]()
    masks = setting.masks if masked else None
    losses = []
    expected = training_step.bare(setting, 2, masks, losses)
    net, callbacks = training_step.lightning(setting, 2, masks=masks, log="grid", track_every=1)
    assert same(expected, net)
    dead, log = callbacks[-3:-1]
    assert log.losses == pytest.approx([float(torch.stack(epoch).mean()) for epoch in losses], rel=1e-6)
    assert (
        dead.history[-1]["total"] == dead_neuron_rates(expected, setting.probe, setting.masks if masked else None).total
    )


def test_model_pruning_trains_the_same_weights():
    setting = SETTINGS["resnet20"]()
    net, _ = training_step.lightning(setting, 2, masks=setting.masks)
    assert same(mask_upkeep.model_pruning(setting, 2), net)


def test_small_batches_have_the_same_rates():
    setting = training_step.cifar_sized_resnet20(images=12, batch=12)
    torch.manual_seed(0)
    large = torch.randn(200, 3, 32, 32)
    small = list(in_small_batches([large]))
    assert [len(x) for (x,) in small] == [85, 85, 30]
    first, second = (dead_neuron_rates(setting.net, batches, setting.masks) for batches in ([large], small))
    assert first == second


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
