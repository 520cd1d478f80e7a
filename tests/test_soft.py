"""Soft: the rules of latent weights on tensors small enough to see the answer."""

from __future__ import annotations

import pytest
import torch

from sparsebench.soft import movement_increment, soft_threshold, threshold_shift, topkast_masks


def test_topkast_masks_are_the_largest_and_the_backward_set_holds_the_forward_set():
    torch.manual_seed(0)
    weights = {"a": torch.randn(7, 5), "b": torch.randn(3, 11)}
    for allocation in ("uniform", "erk", "global"):
        for density, extra in ((0.1, 0.1), (0.31, 0.0), (0.5, 0.25), (0.9, 0.4), (1.0, 0.1)):
            forward, backward = topkast_masks(weights, density, extra, allocation)
            assert forward.kept == round(density * 68)
            assert forward.nested_in(backward)
            assert backward.kept == pytest.approx(min(1, density + extra) * 68, abs=1)
            for n, w in weights.items():
                for masks in (forward, backward):
                    if 0 < masks[n].sum() < w.numel():
                        assert w.abs()[masks[n]].min() > w.abs()[~masks[n]].max()


def test_topkast_counts_stay_exact_when_a_training_diverged():
    weights = {"a": torch.tensor([torch.nan, torch.inf, -torch.inf, 1.0, torch.nan, 2.0])}
    forward, backward = topkast_masks(weights, 0.5, 0.17)
    assert forward["a"].tolist() == [False, True, True, False, False, True]
    assert backward.kept == 4


def test_soft_threshold_is_the_published_formula_and_its_derivatives_are_the_rules():
    torch.manual_seed(1)
    w = (torch.randn(50, dtype=torch.float64) * 2).requires_grad_()
    s = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    result = soft_threshold(w, s)
    torch.testing.assert_close(result, w.sign() * torch.relu(w.abs() - torch.sigmoid(s)))
    assert 5 < (result == 0).sum() < 45
    g = torch.randn(50, dtype=torch.float64)
    by_w, by_s = torch.autograd.grad((g * result).sum(), (w, s))
    alive = result != 0
    torch.testing.assert_close(by_w, g * alive)
    share = torch.sigmoid(s.detach())
    torch.testing.assert_close(by_s, -share * (1 - share) * (g * w.detach().sign() * alive).sum())


def test_after_the_shift_exactly_as_many_weights_are_above_their_threshold():
    torch.manual_seed(2)
    weights = {"a": torch.randn(20, 5, dtype=torch.float64) * 0.1, "b": torch.randn(8, 4, dtype=torch.float64) * 0.3}
    learned = torch.tensor([0.4, -0.7], dtype=torch.float64)
    for kept in (1, 13, 66, 131):
        masks, shift = threshold_shift(weights, learned, kept)
        bounds = dict(zip(weights, torch.sigmoid(learned + shift), strict=True))
        assert masks.kept == kept
        for n, w in weights.items():
            assert torch.equal(w.abs() > bounds[n] + 1e-12, masks[n])
        gaps = torch.cat([(bounds[n] - w.abs())[~masks[n]] for n, w in weights.items()])
        assert gaps.min() == pytest.approx(0, abs=1e-12), "the largest that goes is just at its threshold"


def test_large_weights_survive_first_and_counts_are_exact_among_ties_zeros_and_nan():
    weights = {"a": torch.tensor([3.0, 1.0, -2.0, 0.99]), "b": torch.tensor([0.0, torch.nan, 0.0, -1.5])}
    for kept, expected in ((1, [0]), (3, [0, 1, 2]), (4, [0, 1, 2, 7]), (5, [0, 1, 2, 3, 7]), (6, [0, 1, 2, 3, 4, 7])):
        masks, shift = threshold_shift(weights, torch.tensor([0.0, 9.0]), kept)
        assert torch.cat(list(masks.values())).nonzero().flatten().tolist() == expected
        assert torch.isfinite(shift)


def test_movement_is_the_derivative_of_the_loss_by_the_score_straight_through():
    """With masks m = 1 + s - s (the straight-through estimator), dL/ds = w dL/d(w m)."""
    torch.manual_seed(3)
    w, x = torch.randn(4, 6), torch.randn(3, 6)
    mask, s = torch.rand(4, 6) > 0.5, torch.zeros(4, 6, requires_grad=True)
    loss = (x @ (w * (mask + s)).T).square().sum()
    effective = (w * mask).requires_grad_()
    by_effective = torch.autograd.grad((x @ effective.T).square().sum(), effective)[0]
    torch.testing.assert_close(movement_increment(w, by_effective), -torch.autograd.grad(loss, s)[0])
