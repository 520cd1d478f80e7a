"""Which options make a training step faster on this CPU? ResNet-20 on CIFAR-sized data, plain PyTorch, one thread.

    python benchmarks/perf/options.py [--rounds N] [--global-batch N] [--steps N] [--skip compile]

Measured against an eager float32 step with SGD: the fused optimiser, channels_last, ``torch.compile`` (where there is a
C++ compiler), and bfloat16 autocast. Before that each takes five steps from the same weights on the same batches, and
the largest difference of a loss from the eager one is printed: 0 is bit-equal. There is no bar; NOTES.md says what the
recipes use.

What came out of ``--rounds 7``. One thread on two cores of an AMD EPYC virtual machine with AVX-512 and bf16 units that
other work was using (load 3 to 4), torch 2.15; a step's ratio within rounds, median (quartiles), and the difference:

    fused                            1.03x (0.88 to 1.08)   0
    channels_last                    0.71x (0.63 to 0.79)   1.1e-3
    channels_last, fused             0.71x (0.68 to 0.75)   1.1e-3
    bf16 autocast                    0.58x (0.48 to 0.64)   5.7e-3
    compile                          0.69x (0.67 to 0.82)   1.5e-3
    compile, channels_last, fused    0.69x (0.66 to 0.72)   1.5e-3
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext

import torch
from side_by_side import report, side_by_side
from torch import Tensor
from torch.nn.functional import cross_entropy

from sparsebench.models.resnet import resnet20

Step = Callable[[Tensor, Tensor], Tensor]
EAGER = "eager, float32"
OPTIONS = {
    EAGER: {},
    "fused": {"fused": True},
    "channels_last": {"channels_last": True},
    "channels_last, fused": {"channels_last": True, "fused": True},
    "bf16 autocast": {"bf16": True},
    "compile": {"compiled": True},
    "compile, channels_last, fused": {"compiled": True, "channels_last": True, "fused": True},
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--global-batch", type=int, default=128)
    options.add_argument("--steps", type=int, default=1, help="in a round")
    options.add_argument("--skip", default="", help="leave out the options with this word")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    compiler = any(shutil.which(name) for name in ("g++", "clang++"))
    kept = {
        name: how
        for name, how in OPTIONS.items()
        if not (chosen.skip and chosen.skip in name) and (compiler or "compiled" not in how)
    }
    print(f"{torch.backends.cpu.get_cpu_capability()}, load {os.getloadavg()[0]:.1f}")
    data = batches(5, chosen.global_batch)
    losses = {name: [float(take(x, y)) for take in [step(**how)] for x, y in data] for name, how in kept.items()}
    for name, found in losses.items():
        print(f"{name:32s} largest difference of a loss {max(map(difference, found, losses[EAGER])):.1e}")
    x, y = data[0]
    rivals = {name: repeat(step(**how), x, y, chosen.steps) for name, how in kept.items()}
    timings = side_by_side(rivals, chosen.rounds)
    print(f"load {os.getloadavg()[0]:.1f}")
    report(f"{chosen.steps} steps of ResNet-20, global batch {chosen.global_batch}", timings)


def step(fused: bool = False, channels_last: bool = False, bf16: bool = False, compiled: bool = False) -> Step:
    """One optimiser step from the weights of seed 0."""
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    net = resnet20((3, 32, 32), 10).to(memory_format=layout)
    forward = torch.compile(net) if compiled else net
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=1e-4, nesterov=True, fused=fused)

    def take(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
            loss = cross_entropy(forward(x.to(memory_format=layout)), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return take


def repeat(take: Step, x: Tensor, y: Tensor, steps: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(steps):
            take(x, y)

    return run


def batches(n: int, size: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, 3, 32, 32, generator=generator), torch.randint(10, (size,), generator=generator))
        for _ in range(n)
    ]


def difference(one: float, other: float) -> float:
    return abs(one - other)


if __name__ == "__main__":
    main()
