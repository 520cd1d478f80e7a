"""Accuracy and logits: every image counts once, however batches and ranks divide them."""

from __future__ import annotations

import random
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from sparsebench.grid.state import logits, state_hash, top1
from tests.ranks import as_ranks


class Echo(nn.Module):
    """Predicts the class its input says."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return nn.functional.one_hot(x, 3).float() * self.scale


def test_accuracy_counts_images_not_batches():
    """Right on all of 6 images and on none of 2: 6 of 8, not the mean of 1 and 0."""
    right, wrong = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([1, 2])
    batches = [(right, right), (wrong, torch.tensor([0, 0]))]
    assert top1(Echo(), batches) == 0.75


def test_ranks_share_the_images_and_know_all_logits():
    x, y = torch.arange(7) % 3, torch.arange(7) % 2
    z, labels = logits(Echo(), [(x, y)])
    shares = as_ranks(2, lambda rank: logits(deepcopy(Echo()), [(x[rank::2], y[rank::2])]))
    for found, their_labels in shares:
        assert torch.equal(found, z)
        assert torch.equal(their_labels, labels)


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net.scale.data.add_(1),
        lambda net: net.eval(),
        lambda net: setattr(net.scale, "grad", torch.ones(1)),
        lambda net: torch.rand(1),
        lambda net: np.random.rand(),
        lambda net: random.random(),
    ],
)
def test_whatever_scoring_must_leave_alone_is_seen_to_change(change):
    net = Echo()
    before = state_hash(net)
    assert state_hash(net) == before
    change(net)
    assert state_hash(net) != before
