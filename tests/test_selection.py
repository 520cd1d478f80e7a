"""Selection: exactly k, ties by position, nested, guarded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import tensor

from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.selection import NonFiniteScore, select, top_k


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_top_k_is_a_stable_sort(dtype):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 6, (200,), generator=generator).to(dtype)  # many ties
    order = np.argsort(-scores.float().numpy(), kind="stable")
    for k in (0, 1, 7, 100, 199, 200):
        assert top_k(scores, k).nonzero().flatten().tolist() == sorted(order[:k].tolist())


def test_one_ranking_runs_over_all_tensors():
    masks = select({"a": tensor([[5.0, 1.0]]), "b": tensor([4.0, 3.0])}, 0.5)
    assert masks == Masks({"a": tensor([[True, False]]), "b": tensor([True, False])})


def test_an_allocation_ranks_within_each_tensor():
    masks = select({"a": tensor([5.0, 6.0]), "b": tensor([1.0, 2.0])}, 0.5, allocation="uniform")
    assert masks == Masks({"a": tensor([False, True]), "b": tensor([False, True])})


def test_ties_are_cut_at_the_exact_count_in_order():
    assert select({"a": torch.zeros(3), "b": torch.zeros(7)}, 0.4) == Masks(
        {"a": torch.ones(3, dtype=torch.bool), "b": torch.arange(7) < 1}
    )


def test_the_floor_keeps_the_best_of_each_tensor():
    scores = {"small": tensor([0.1, 0.2]), "large": torch.arange(10.0, 18.0)}
    assert select(scores, 0.2).emptied == ["small"]
    kept = select(scores, 0.2, floor=1)
    assert kept["small"].tolist() == [False, True]
    assert kept.kept == 2


@pytest.mark.parametrize("allocation", ["global", "uniform", "erk", "igq"])
def test_iterated_masks_are_nested_whatever_the_scores_do(allocation):
    generator = torch.Generator().manual_seed(1)
    masks = None
    for density in (0.7, 0.69, 0.3, 0.1, 0.02):
        scores = {n: torch.rand(s, generator=generator) for n, s in (("a", (20, 30)), ("b", (5, 20)), ("c", (3, 5)))}
        smaller = select(scores, density, allocation=allocation, masks=masks, floor=1)
        assert smaller.kept == round(density * 715)
        assert masks is None or smaller.nested_in(masks)
        masks = smaller


def test_refusals():
    scores = {"a": tensor([1.0, 2.0])}
    with pytest.raises(NonFiniteScore, match="'a'"):
        select({"a": tensor([1.0, torch.nan])}, 0.5)
    for density in (0.0, 1.1, -1.0):
        with pytest.raises(UsageError, match=r"\[0, 1\)"):
            select(scores, density)
    with pytest.raises(UsageError, match="only 1 are left"):
        select(scores, 1.0, masks=Masks({"a": tensor([True, False])}))
    with pytest.raises(UsageError, match=r"different tensors.*b"):
        select(scores, 0.5, masks=Masks({"b": tensor([True, False])}))
