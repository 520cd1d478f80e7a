"""Mask upkeep alone: what it costs a training of ResNet-20 to keep pruned weights at 0.

    python benchmarks/perf/mask_upkeep.py [--rounds N] [--fit-rounds N]

Three Lightning fits of the same steps on CIFAR-sized data, batch 128: without masks; with ``Pruner`` and fixed masks
(90 % removed); with Lightning's own ``ModelPruning``, whose network is reparametrised by ``torch.nn.utils.prune`` with
the same masks before the fit and pruned no further, so that only the upkeep is timed. Both end with the same weights.

Bars: <= 1.01x of no masks, and faster than ModelPruning.

A step takes hundreds of times as long as its upkeep, so the ratio of fits shows mostly how even the machine is. The
upkeep is therefore also timed on its own, beside a bare step: both multiplies of a step (the second is spared after
SGD and Adam) and the checks of an epoch of 351 steps; of ModelPruning the multiplies that make the weights before every
step and their way back.

Measured on two cores of an AMD EPYC virtual machine that other work was using (load 4), one thread, torch 2.15:

    --rounds 31 --fit-rounds 0      step 860 ms, upkeep of a step 0.50 ms, of an epoch 1.7 ms: 1.0006x of no masks;
                                    ModelPruning's of a step 1.4 ms: 1.0017x; ours is 0.35x of it
    9 whole fits of 3 steps         Pruner 1.01 (0.81 to 1.15), ModelPruning 1.00 (0.84 to 1.09): not to be told apart
"""

from __future__ import annotations

import argparse
from copy import deepcopy
from functools import partial
from statistics import median

import torch
from lightning.pytorch.callbacks import ModelPruning
from side_by_side import report, side_by_side
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import prune
from training_step import Setting, cifar_sized_resnet20, lightning, load, quiet

from sparsebench.callbacks.upkeep import Upkeep
from sparsebench.models.classifier import make_optimizer

EPOCH_STEPS = 45_000 // 128


def reparametrised(setting: Setting) -> tuple[nn.Module, list[nn.Module]]:
    """A copy of the network with ``weight = weight_orig * weight_mask``, and the layers where it is so."""
    net = deepcopy(setting.net)
    layers = [net.get_submodule(name.removesuffix(".weight")) for name in setting.masks]
    for layer, mask in zip(layers, setting.masks.values(), strict=True):
        prune.custom_from_mask(layer, "weight", mask.float())
    return net, layers


def model_pruning(setting: Setting, epochs: int) -> nn.Module:
    """The fit with Lightning's callback."""
    net, layers = reparametrised(setting)
    callback = ModelPruning(
        "l1_unstructured",
        parameters_to_prune=[(layer, "weight") for layer in layers],
        apply_pruning=False,
        make_pruning_permanent=True,
        use_lottery_ticket_hypothesis=False,
    )
    return lightning(setting, epochs, net=net, callbacks=(callback,))[0]


def pieces(setting: Setting) -> dict:
    """A step, the upkeep of a step, and that of an epoch, each on its own."""
    net = deepcopy(setting.net)
    optimizer = make_optimizer(net, setting.recipe)
    x, y = next(iter(setting.loader()))
    upkeep = Upkeep(dict(net.named_parameters()), setting.masks)

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(net(x), y).backward()
        optimizer.step()

    def of_a_step() -> None:
        upkeep.mask_gradients()
        upkeep.mask_weights()

    def of_an_epoch() -> None:
        upkeep.mask_weights()
        upkeep.mask_optimizer_state([optimizer])
        upkeep.undisturbed([optimizer])

    _, layers = reparametrised(setting)
    gradients = [torch.randn_like(layer.weight) for layer in layers]

    def of_model_pruning() -> None:
        for layer in layers:
            layer.weight_orig.grad = None
            for hook in layer._forward_pre_hooks.values():
                hook(layer, ())
        torch.autograd.backward([layer.weight for layer in layers], gradients)

    return {
        "step": step,
        "upkeep of a step": of_a_step,
        "upkeep of an epoch": of_an_epoch,
        "ModelPruning's of a step": of_model_pruning,
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=30)
    options.add_argument("--fit-rounds", type=int, default=15, help="0 for none, otherwise at least 2")
    options.add_argument("--steps", type=int, default=4, help="of a fit")
    chosen = options.parse_args()
    quiet()
    setting = cifar_sized_resnet20(images=chosen.steps * 128)
    timings = side_by_side(pieces(setting), chosen.rounds, warm=2)
    report(f"ResNet-20: a step and the upkeep, each on its own; {load()}", timings)
    step, of_a_step, of_an_epoch, theirs = (median(timing.seconds) for timing in timings)
    ours = of_a_step + of_an_epoch / EPOCH_STEPS
    print(f"against no masks: ours {1 + ours / step:.5f}x, ModelPruning {1 + theirs / step:.5f}x   (bar: <= 1.01x)")
    print(f"ours against ModelPruning: {ours / theirs:.3f}x   (bar: < 1)")
    if chosen.fit_rounds:
        fits(setting, chosen)


def fits(setting: Setting, chosen: argparse.Namespace) -> None:
    rivals = {
        "no masks": partial(lightning, setting, 1),
        "Pruner": partial(lightning, setting, 1, masks=setting.masks),
        "Lightning's ModelPruning": partial(model_pruning, setting, 1),
    }
    timings = side_by_side(rivals, chosen.fit_rounds)
    report(f"ResNet-20: whole fits, one step; {load()}", timings, "<= 1.01x; faster", 1e3 / chosen.steps)


if __name__ == "__main__":
    main()
