"""Is scoring ever slower than plain code? Bar: SNIP, SynFlow and Fisher of ResNet-18 take at most the reference's time.

    python benchmarks/perf/scoring.py [--rounds N] [--images N] [--criteria snip synflow fisher]

The references in this file are written straight from the papers, in plain PyTorch, for a network in this process. Each
is compared with ``sparsebench.scores``, which also restores modes, buffers and random states and checks its arguments.
Scores must agree in float64 before anything is timed; in float32, rounding may open or shut a ReLU at zero.

What came out of ``--rounds 11`` on two cores of an AMD EPYC virtual machine used by nothing else, torch 2.15; ratio
of times within rounds, median (quartiles):

    snip       0.99x (0.96 to 1.01)   as fast
    synflow    0.69x (0.66 to 0.77)   faster
    fisher     0.74x (0.72 to 0.80)   faster; a second run 0.74x (0.69 to 0.78)
"""

from __future__ import annotations

import argparse
import copy
import os
from functools import partial

import torch
from side_by_side import report, side_by_side
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparsebench import scope_of, scores
from sparsebench.models.resnet import resnet18

Batches = list[tuple[Tensor, Tensor]]
Scores = dict[str, Tensor]


def snip(net: nn.Module, batches: Batches) -> Scores:
    """|w * dL/dw| in training mode, gradient averaged over the batches."""
    net.train()
    net.zero_grad()
    examples = sum(len(y) for _, y in batches)
    for x, y in batches:
        (cross_entropy(net(x), y, reduction="sum") / examples).backward()
    return {name: (w * w.grad).abs().detach() for name, w in scope_of(net).prunable.items()}


def synflow(net: nn.Module, batches: Batches) -> Scores:
    """|w * dR/dw| of a float64 copy with absolute values for weights, R its output on ones."""
    net = copy.deepcopy(net).double().eval()
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.abs_()
    net(torch.ones_like(batches[0][0][:1], dtype=torch.float64)).sum().backward()
    return {name: (w * w.grad).abs().detach() for name, w in scope_of(net).prunable.items()}


def fisher(net: nn.Module, batches: Batches) -> Scores:
    """w^2 / 2 times the mean square of the gradients of single examples, one backward pass each."""
    net.eval()
    weights = scope_of(net).prunable
    squares = {name: torch.zeros_like(w) for name, w in weights.items()}
    examples = 0
    for batch_x, batch_y in batches:
        for x, y in zip(batch_x, batch_y, strict=True):
            grads = torch.autograd.grad(cross_entropy(net(x[None]), y[None]), list(weights.values()))
            for name, grad in zip(weights, grads, strict=True):
                squares[name] += grad**2
            examples += 1
    return {name: (squares[name] / examples * w**2 / 2).detach() for name, w in weights.items()}


REFERENCES = {"snip": snip, "synflow": synflow, "fisher": fisher}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--images", type=int, default=32, help="scored on, in one batch")
    options.add_argument("--criteria", nargs="+", default=list(REFERENCES), choices=list(REFERENCES))
    chosen = options.parse_args()
    torch.set_num_threads(1)
    net, batches = problem(chosen.images, chosen.images)
    for name in chosen.criteria:
        check_equal(name)
        reference, own = partial(REFERENCES[name], net, batches), partial(scores, net, name, batches)
        timings = side_by_side({"reference": reference, "sparsebench": own}, chosen.rounds)
        print(f"load {os.getloadavg()[0]:.1f}")
        report(f"{name}, ResNet-18, {chosen.images} images", timings, "at most 1x")


def problem(images: int, batch: int) -> tuple[nn.Module, Batches]:
    """ResNet-18 with batch-norm statistics of its own and batches of CIFAR-sized noise."""
    torch.manual_seed(0)
    net = resnet18((3, 32, 32), 10)
    x, y = torch.randn(images, 3, 32, 32), torch.randint(10, (images,))
    with torch.no_grad():
        net.train()(x)
    return net, list(zip(x.split(batch), y.split(batch), strict=True))


def check_equal(name: str) -> None:
    """Raises an AssertionError unless the scores of a criterion are the reference's, up to rounding in float64."""
    net, batches = problem(2, batch=1)
    net, batches = net.double(), [(x.double(), y) for x, y in batches]
    expected = REFERENCES[name](net, batches)
    torch.testing.assert_close(scores(net, name, batches), expected, rtol=1e-7, atol=1e-12)


if __name__ == "__main__":
    main()
