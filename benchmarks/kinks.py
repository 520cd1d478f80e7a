"""How does training amplify a last bit? An epoch of a ResNet-8 in 64 bits, its weights moved by a factor 1 + e * noise.

    python benchmarks/kinks.py

A line a size e of the move, and of 32 bits in place of 64: after every step, how far the weights are from those that
were not moved, relative to the largest of their tensor. Where no unit behind a ReLU has turned on or off, a move stays
as small as it was; where one has, the next steps are another training's. Then the same with GELU, which has no such
kink. The figures are in docs/determinism.md.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparsebench.grid.state import data_of, initial_net
from sparsebench.tasks import task

TASK = task("digits-resnet8")
MOVES = (1e-12, 1e-10, 1e-8, 1e-7, 1e-6)

Weights = dict[str, Tensor]


def main() -> None:
    torch.set_num_threads(1)
    data = data_of(TASK.dataset, TASK.recipe.global_batch, TASK.recipe.augment, None, False, "cpu", ())
    net, batches = initial_net(TASK, 0, data.input_shape, data.num_classes).double(), list(data.train_dataloader())
    for name, subject in (("ReLU", net), ("GELU", smooth(net))):
        exact = trained(subject, batches)
        for move in MOVES:
            print(f"{name}, 64 bits, moved by {move:.0e}", line(trained(moved(subject, move), batches), exact))
        print(f"{name}, 32 bits               ", line(trained(deepcopy(subject).float(), batches), exact))


def smooth(net: nn.Module) -> nn.Module:
    copy = deepcopy(net)
    for module in copy.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.GELU())
    return copy


def moved(net: nn.Module, size: float) -> nn.Module:
    copy, generator = deepcopy(net), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in copy.parameters():
            weight.mul_(1 + size * torch.randn(weight.shape, generator=generator, dtype=weight.dtype))
    return copy


def trained(net: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> list[Weights]:
    """The weights after every step of SGD with the task's rate, warmed up over three steps."""
    net, recipe, found = deepcopy(net).train(), TASK.recipe, []
    options = {"momentum": recipe.momentum, "nesterov": recipe.nesterov, "weight_decay": recipe.weight_decay}
    optimizer = torch.optim.SGD(net.parameters(), lr=recipe.rate, **options)
    for step, (x, y) in enumerate(batches):
        optimizer.param_groups[0]["lr"] = recipe.rate * min(1.0, (step + 1) / 3)
        optimizer.zero_grad()
        cross_entropy(net(x.to(next(net.parameters()).dtype)), y).backward()
        optimizer.step()
        found.append({name: weight.detach().double().clone() for name, weight in net.named_parameters()})
    return found


def line(found: list[Weights], exact: list[Weights]) -> str:
    return "  ".join(f"{distance(a, b):.0e}" for a, b in zip(found, exact, strict=True))


def distance(found: Weights, exact: Weights) -> float:
    return max(float((found[name] - value).abs().max() / value.abs().max()) for name, value in exact.items())


if __name__ == "__main__":
    main()
