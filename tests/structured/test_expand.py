"""Expand: the dense network with zeros computes what the shrunk one does."""

from __future__ import annotations

import pytest
import torch

from sparsebench.functional import prune
from sparsebench.structured import expand
from tests.networks import NETWORKS, batches, network


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_dense_network_computes_what_the_small_one_does(kind):
    small, dense = network(kind), network(kind)
    for x, _ in batches():  # statistics that are not those of a fresh network
        small.train()(x)
    masks = prune(small.eval(), "l2", sparsity=0.4, data=batches())
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in dense.parameters())
    expand(dense, small, masks)
    x = batches()[0][0]
    torch.testing.assert_close(dense.eval()(x), small(x), rtol=1e-4, atol=1e-5)
    assert all(not dense.get_parameter(name)[~mask].any() for name, mask in masks.items())
