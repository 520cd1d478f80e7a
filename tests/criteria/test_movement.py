"""Movement: its scores are those of a plain training loop, and the network does not notice."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch.nn.functional import cross_entropy

import sparsebench
from sparsebench.errors import UsageError
from sparsebench.functional import pruning
from sparsebench.methods import parse
from sparsebench.scope import scope_of
from sparsebench.snapshot import state_digest
from tests.networks import NETWORKS, batches, network


def in_double():
    return [(x.double(), y) for x, y in batches()]


def trained(net, rate: float, steps: int = 2):
    """Weights, gradients and the score after some steps of SGD on the prunable weights alone."""
    twin = deepcopy(net).eval()
    weights = scope_of(twin).prunable
    optimizer = torch.optim.SGD(weights.values(), lr=rate)
    total = {n: torch.zeros_like(w) for n, w in weights.items()}
    for x, y in (in_double() * 2)[:steps]:
        twin.zero_grad()
        cross_entropy(twin(x), y).backward()
        for n, w in weights.items():
            total[n] -= w.detach() * w.grad
        optimizer.step()
    return total


@pytest.mark.parametrize("kind", NETWORKS)
def test_scores_are_those_of_a_training_loop(kind):
    net = network(kind).double()
    before = state_digest(net)
    for rate in (0.01, 0.5):
        raw, expected = sparsebench.scores(net, "movement", in_double(), rate=rate), trained(net, rate)
        for n, score in raw.items():
            assert float((score - expected[n]).norm() / expected[n].norm()) < 1e-10, n
    assert state_digest(net) == before
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_steps_are_taken_in_order_and_move_the_weights():
    net = network("mlp").double()
    one = sparsebench.scores(net, "movement", in_double()[:1], rate=0.5)
    two = sparsebench.scores(net, "movement", in_double(), rate=0.5)
    swapped = sparsebench.scores(net, "movement", in_double()[::-1], rate=0.5)
    still = sparsebench.scores(net, "movement", in_double(), rate=0.0)
    for other in (one, swapped, still):
        assert not torch.allclose(two["fc1.weight"], other["fc1.weight"], rtol=1e-3)


def test_weights_that_grow_are_kept_and_those_that_shrink_are_not():
    """One weight per input; the loss pulls the first up, the second, larger, towards 0."""
    net = torch.nn.Linear(2, 1, bias=False)
    net.weight.data = torch.tensor([[0.1, 1.0]])
    pull = torch.tensor([[-1.0, 1.0]])
    masks = pruning(
        net, "movement", sparsity=0.5, data=[pull] * 3, loss=lambda model, x: model(x).mean(), rate=0.01
    ).masks
    assert masks["weight"].tolist() == [[True, False]]


def test_ranked_within_each_tensor_and_ramped_by_default():
    method = parse("movement")
    assert (method.regime, method.scorer.allocation) == ("ramp", "uniform")
    net = network("mlp")
    counts = pruning(net, "movement", sparsity=0.75, data=batches()).masks.counts
    assert all(abs(kept - 0.25 * net.get_parameter(n).numel()) <= 1 for n, kept in counts.items())
    with pytest.raises(UsageError, match="goes with"):
        parse("movement/2:4@ramp")
