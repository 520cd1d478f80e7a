"""Scores of several ranks, each with its share of the data, are those of one process with all of it."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from sparsebench.functional import scores
from tests.networks import batches, network
from tests.ranks import as_ranks


@pytest.mark.parametrize("name", ["snip", "grasp", "gradient"])
def test_ranks_score_as_one_process_does(name):
    """12 images on rank 0 and 7 on rank 1, in float64; without batch norm a batch is the sum of its images."""
    shares = [(x.double(), y) for x, y in batches()]
    net = network("mlp").double()
    together = as_ranks(2, lambda rank: scores(deepcopy(net), name, [shares[rank]]))
    whole = scores(net, name, [tuple(torch.cat(parts) for parts in zip(*shares, strict=True))])
    alone = scores(net, name, shares[:1])
    for key, expected in whole.items():
        for found in together:
            torch.testing.assert_close(found[key], expected, rtol=1e-9, atol=1e-15)
        assert not torch.allclose(alone[key], expected), "the share of one rank would do"
