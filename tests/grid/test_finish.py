"""What a record says of a finished network, on networks small enough to count by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparsebench.grid.finish import sparsity
from sparsebench.grid.stages import Loaded
from sparsebench.masks import Masks


def test_sparsity_is_that_of_the_prunable_weights():
    """4 of 12 weights are kept; the 3 biases and the 6 parameters of the norm count among the parameters alone."""
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    mask = torch.zeros(3, 4, dtype=torch.bool)
    mask[0] = True
    found = sparsity(net, Loaded(net, Masks({"0.weight": mask}), None), 0.6)
    assert (found["asked"], found["kept"], found["prunable"], found["total"]) == (0.6, 4, 12, 21)
    assert found["achieved"] == pytest.approx(1 - 4 / 12)
    assert found["layers"] == {"0.weight": {"kept": 4, "size": 12}}


def test_a_smaller_network_is_measured_against_the_whole_one():
    whole, small = nn.Linear(4, 3), nn.Linear(4, 2)
    found = sparsity(whole, Loaded(small, None, None), 0.3)
    assert (found["kept"], found["prunable"], found["parameters"], found["total"]) == (8, 12, 10, 15)
    assert found["achieved"] == pytest.approx(1 / 3)
