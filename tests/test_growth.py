"""Drop and grow: by eye, and the count never changes."""

from __future__ import annotations

import pytest
import torch
from torch import tensor

from sparsebench.growth import rigl_update, set_update

W = tensor([4.0, -3.0, 2.0, -1.0, 0.0, 0.0])
MASK = tensor([True, True, True, True, False, False])


def test_rigl_drops_the_smallest_and_grows_where_the_gradient_is_largest():
    grad = tensor([9.0, 9.0, 0.5, 0.0, 0.1, -7.0])
    assert rigl_update(W, grad, MASK, 0.25).tolist() == [True, True, True, False, False, True]
    assert rigl_update(W, grad, MASK, 0.5).tolist() == [True, True, True, False, False, True]  # 2 returns


def test_set_grows_at_random_but_reproducibly():
    grown = {tuple(set_update(W, MASK, 0.5, torch.Generator().manual_seed(s)).tolist()) for s in range(40)}
    assert all(g[:2] == (True, True) and sum(g) == 4 for g in grown)
    assert len(grown) == 6  # every choice of 2 of the 4 places behind the survivors
    again = [set_update(W, MASK, 0.5, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert (again[0] == again[1]).all()


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kept", [0, 1, 50, 95, 100])
def test_the_count_is_constant_whatever_the_numbers(fraction, kept):
    generator = torch.Generator().manual_seed(0)
    weight, grad = torch.randn(100, generator=generator), torch.randn(100, generator=generator)
    mask = torch.arange(100) < kept
    weight[~mask] = 0
    grad[::7] = torch.nan
    grad[1::7] = torch.inf
    new = rigl_update(weight, grad, mask, fraction)
    assert new.sum() == kept
    assert set_update(weight, mask, fraction, generator).sum() == kept
    if fraction == 0:
        assert (new == mask).all()
