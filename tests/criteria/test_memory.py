"""Live tensor memory of every unstructured criterion, counted allocation by allocation."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sparsebench import scores
from sparsebench.criteria import woodfisher
from sparsebench.models import build
from sparsebench.registry import criterion
from sparsebench.scope import scope_of

BOUND = 4.0
"""Live bytes above those before the call, in sizes of the model."""
EXAMPLES = 8


def squares(net: nn.Module) -> float:
    """Gradients of the examples of a chunk, as much to compute them, and six tensors a weight."""
    return (2 * EXAMPLES + 6) * size_of(net)


def matrix(net: nn.Module) -> float:
    """The gradients of all examples, as much twice while they are computed, and four tensors a weight."""
    return (3 * EXAMPLES + 4) * size_of(net)


def blocks(net: nn.Module) -> float:
    return matrix(net) + woodfisher.WORKSPACE


def hessians(net: nn.Module) -> float:
    """X^T X of every layer in float64, as much to compute them, and four of the largest while it is factored."""
    sides = [p[0].numel() ** 2 for p in scope_of(net).prunable.values()]
    return 8 * (2 * sum(sides) + 4 * max(sides)) + BOUND * size_of(net)


SECOND_ORDER = {
    "fisher": squares, "obd": squares, "woodfisher": blocks, "chita": matrix, "sparsegpt": hessians, "obc": hessians,
}  # fmt: skip


class LiveMemory(TorchDispatchMode):
    """Peak of the bytes of all storages born inside the block that are alive at one time."""

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0
        self.known: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        # What goes in was there before, unless it was seen being born.
        for leaf in tree_leaves((args, kwargs)):
            self._note(leaf, born=False)
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            self._note(leaf, born=True)
        self.peak = max(self.peak, self.live)
        return out

    def _note(self, leaf, *, born: bool) -> None:
        if not isinstance(leaf, torch.Tensor):
            return
        storage = leaf.untyped_storage()
        key = id(storage)
        if key in self.known and self.known[key]() is storage:
            return
        size = storage.nbytes() if born else 0
        self.live += size

        def died(_, key=key, size=size):
            self.live -= size
            self.known.pop(key, None)

        self.known[key] = weakref.ref(storage, died)


def size_of(net: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in net.parameters())


def test_the_meter_counts_births_and_deaths_once():
    before = torch.ones(1000)
    with LiveMemory() as meter:
        before.mul_(2)
        before.view(10, 100).t()
        a = torch.zeros(1000)
        b = a.view(100, 10)
        del a
        c = b + 1
        assert meter.live == 8000
        del b
        assert meter.live == 4000
        del c
        d = torch.zeros(500, dtype=torch.float64)
    assert (meter.live, meter.peak) == (d.nbytes, 8000)


def test_the_meter_sees_the_graph_and_the_backward_pass():
    w = torch.ones(1000, requires_grad=True)
    with LiveMemory() as meter:
        y = w.exp()
        loss = y.exp().sum()
        del y
        torch.autograd.grad(loss, [w])
    assert 12000 <= meter.peak <= 20008


def peak(name: str, net: nn.Module, side: int, examples: int, **arguments) -> int:
    data = [(torch.randn(examples, 3, side, side), torch.arange(examples))]
    with LiveMemory() as meter:
        raw = scores(net, name, data, **arguments)
    # Scores that are no new tensors would hide what came before them.
    assert meter.live >= sum(score.nbytes for score in raw.values())
    return meter.peak


FIRST_ORDER = [n for n in criterion.names() if n not in SECOND_ORDER]


def test_criteria_that_claim_to_be_second_order_have_a_bound():
    assert {n for n in criterion.names() if criterion.entry(n).traits.get("second_order")} == set(SECOND_ORDER)


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_scoring_resnet18_takes_less_than_four_times_its_size(name):
    torch.manual_seed(0)
    net = build("resnet18", (3, 32, 32), 10)
    assert peak(name, net, side=32, examples=2) < BOUND * size_of(net)


@pytest.mark.parametrize("name", SECOND_ORDER)
def test_second_order_criteria_keep_their_documented_bound(name, monkeypatch):
    """On images so small that activations do not count."""
    torch.manual_seed(0)
    monkeypatch.setattr(woodfisher, "WORKSPACE", 2**19)
    net = build("resnet8", (3, 8, 8), 10)
    arguments = {"block": 32} if name == "woodfisher" else {}
    assert peak(name, net, side=8, examples=EXAMPLES, **arguments) < SECOND_ORDER[name](net)
