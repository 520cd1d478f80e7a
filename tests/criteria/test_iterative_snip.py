"""Iterative SNIP against a plain loop of scoring and masking."""

from __future__ import annotations

import pytest
import torch

from sparsebench.functional import pruning
from sparsebench.masks import Masks
from sparsebench.per_example import flatten, unflatten
from sparsebench.scope import scope_of
from sparsebench.scoring import cross_entropy
from tests.networks import NETWORKS, batches, network


@pytest.mark.parametrize("kind", NETWORKS)
def test_iterative_snip_scores_the_masked_network_in_every_round(kind):
    net, data = network(kind), batches()
    found = pruning(net, "iterative_snip", sparsity=0.95, data=data).masks
    params = scope_of(net).prunable
    total = sum(p.numel() for p in params.values())
    keep = torch.ones(total, dtype=torch.bool)
    net.train()
    for k in range(1, 101):
        loss = sum(cross_entropy(net, batch) * len(batch[0]) for batch in data) / 19
        grads = torch.autograd.grad(loss, list(params.values()))
        sensitivity = (flatten(params) * torch.cat([g.flatten() for g in grads])).abs()
        order = sensitivity.masked_fill(~keep, -1.0).sort(descending=True, stable=True).indices
        keep = torch.zeros(total, dtype=torch.bool)
        keep[order[: round(0.05 ** (k / 100) * total)]] = True
        with torch.no_grad():
            for p, mask in zip(params.values(), unflatten(keep, params).values(), strict=True):
                p.mul_(mask)
    expected = Masks(unflatten(keep, params))
    assert found.kept == expected.kept
    # Two orders of adding up a gradient may swap weights at the threshold.
    assert sum(int((found[n] & expected[n]).sum()) for n in found) >= 0.99 * found.kept


def test_iterative_snip_is_not_snip():
    net = network("vgg")
    once = pruning(net, "snip", sparsity=0.99, data=batches()).masks
    again = pruning(net, "iterative_snip", sparsity=0.99, data=batches()).masks
    assert once != again
    assert once.kept == again.kept
