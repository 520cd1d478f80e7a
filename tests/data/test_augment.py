"""Batched augmentation against a loop over images and pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparsebench.data.augment import AUGMENTS, by_name
from sparsebench.errors import UsageError


@pytest.mark.parametrize("name", ["shift1", "crop", "crop_flip"])
def test_equals_a_loop_over_pixels(name):
    augment = AUGMENTS[name]
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(1, 256, (40, 3, 6, 5), dtype=torch.uint8, generator=generator)
    draws = augment.draw(40, generator)
    expected = np.zeros_like(x.numpy())
    for b, (row, column, flip) in enumerate(draws.tolist()):
        for i in range(6):
            for j in range(5):
                source_i = i + row - augment.pad
                source_j = (4 - j if flip else j) + column - augment.pad
                if 0 <= source_i < 6 and 0 <= source_j < 5:
                    expected[b, :, i, j] = x[b, :, source_i, source_j]
    assert np.array_equal(augment(x, draws).numpy(), expected)


def test_draws_cover_all_shifts_and_both_sides():
    shifts = AUGMENTS["shift1"].draw(500, torch.Generator().manual_seed(1))
    assert {tuple(row) for row in shifts.tolist()} == {(i, j, 0) for i in range(3) for j in range(3)}
    draws = AUGMENTS["crop_flip"].draw(2000, torch.Generator().manual_seed(1))
    assert set(draws[:, 0].tolist()) == set(draws[:, 1].tolist()) == set(range(9))
    assert 0.4 < draws[:, 2].double().mean() < 0.6


def test_unknown_name():
    with pytest.raises(UsageError, match="did you mean 'crop_flip'"):
        by_name("cropflip")
