"""Dead-neuron tracking of ResNet-20: what an epoch with it costs against one without.

    python benchmarks/perf/dead_neurons.py [--rounds N]

Timed in every round, side by side: some training steps of a bare loop at batch 128 (loader and augmentation included),
and what ``DeadNeurons`` computes at the end of an epoch: 2048 images through the network with all counts, and static
units from the masks. An epoch of CIFAR-10 has 351 steps (45,000 images), so the ratio per epoch is

    1 + tracking / (351 x step)

with tracking at its full size: nothing is scaled but the number of equal steps.

Bar: <= 1.02x. Beside it: the plain evaluation of the same images (what cannot be saved), and both in batches of 1024,
as a data module's probe has them before ``DeadNeurons`` takes smaller ones on the CPU.

Measured on two cores of an AMD EPYC virtual machine that other work was using (load 4 to 5), one thread, torch 2.15,
--rounds 4:

    tracking 1.016x (1.014 to 1.017) of an epoch without, plain evaluation of the same images 1.014x (1.012 to 1.017);
    in batches of 1024: 1.038x (1.035 to 1.052) and 1.032x (1.031 to 1.040)
"""

from __future__ import annotations

import argparse
from copy import deepcopy
from functools import partial
from statistics import quantiles

import torch
from side_by_side import report, side_by_side
from torch import Tensor, nn
from training_step import bare, cifar_sized_resnet20, load, quiet

from sparsebench.callbacks.probe import in_small_batches
from sparsebench.metrics.dead_neurons import dead_neuron_rates

EPOCH_STEPS, PROBE = 45_000 // 128, 2048


@torch.no_grad()
def evaluate(net: nn.Module, batches: list[Tensor]) -> None:
    net.eval()
    for x in batches:
        net(x)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--steps", type=int, default=4, help="training steps timed in a round")
    chosen = options.parse_args()
    quiet()
    setting = cifar_sized_resnet20(images=chosen.steps * 128)
    net = deepcopy(setting.net)
    setting.masks.apply(net)
    large = list(torch.randn(PROBE, 3, 32, 32).split(1024))
    small = [batch if isinstance(batch, Tensor) else batch[0] for batch in in_small_batches(large)]
    rivals = {
        "training steps": partial(bare, setting, 1),
        "tracking": partial(dead_neuron_rates, net, small, setting.masks),
        "plain evaluation": partial(evaluate, net, small),
        "tracking, batches of 1024": partial(dead_neuron_rates, net, large, setting.masks),
        "plain, batches of 1024": partial(evaluate, net, large),
    }
    steps, *others = side_by_side(rivals, chosen.rounds)
    report(f"ResNet-20, {chosen.steps} steps and 2048 images; {load()}", [steps, *others])
    print("\nper epoch of 351 steps, against none   (to reach: <= 1.02x)")
    for timing in others:
        ratios = [1 + ratio * chosen.steps / EPOCH_STEPS for ratio in timing.ratios]
        low, middle, high = quantiles(ratios, n=4)
        print(f"{timing.name:32s} {middle:.4f}x   ({low:.4f} to {high:.4f})")


if __name__ == "__main__":
    main()
