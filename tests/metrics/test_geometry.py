"""Angles, lengths and margins against distances found by looking for them, and what is made of them."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from sparsebench.metrics.features import NoLinearHead, by_layer, features
from sparsebench.metrics.flips import Seen, Showings, gap, of_classes, of_clean, of_shown
from sparsebench.metrics.geometry import angles, auroc, auroc_within, lengths, margins
from sparsebench.metrics.plane import principal, turn
from sparsebench.metrics.redundancy import redundancy
from sparsebench.models import build

SHAPE = (1, 8, 8)


def drawn(n: int, d: int, k: int, seed: int = 0):
    g = torch.Generator().manual_seed(seed)
    x, w, b = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((n, d), (k, d), (k,)))
    return x, w, b, torch.randint(k, (n,), generator=g)


def test_margins_in_the_plane_against_the_nearest_other_decision_on_a_fine_grid():
    x, w, b, _ = drawn(12, 2, 4)
    label = (x @ w.T + b).argmax(1)
    axis = torch.linspace(-6, 6, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    decided = (grid @ w.T + b).argmax(1)
    found = margins(x, w, b, label)
    for i in range(len(x)):
        other = (grid[decided != label[i]] - x[i]).norm(dim=1).min()
        if other < 3:  # else the nearest may lie beyond the grid
            assert found[i] == pytest.approx(other.item(), abs=0.03)
    assert (found > 0).all()


def test_margins_in_many_dimensions_against_an_optimiser():
    x, w, b, _ = drawn(6, 5, 3, seed=1)
    label = (x @ w.T + b).argmax(1)
    weight, bias = w.numpy(), b.numpy()
    for i, y in enumerate(label.tolist()):
        best, start = inf, x[i].numpy()
        for j in {0, 1, 2} - {y}:
            crossed = {"type": "eq", "fun": lambda v, j=j, y=y: (weight[j] - weight[y]) @ v + bias[j] - bias[y]}
            done = minimize(lambda v, at=start: ((v - at) ** 2).sum(), start, constraints=[crossed], tol=1e-12)
            best = min(best, float(np.sqrt(done.fun)))
        assert margins(x[i : i + 1], w, b, label[i : i + 1]).item() == pytest.approx(best, abs=1e-5)


def test_a_sample_is_wrong_exactly_where_its_margin_is_below_0():
    x, w, b, label = drawn(500, 7, 5, seed=2)
    wrong = (x @ w.T + b).argmax(1) != label
    assert torch.equal(margins(x, w, b, label) < 0, wrong)
    assert 0 < wrong.sum() < 500


def test_angles_lengths_and_biases_give_the_logits_back():
    x, w, b, _ = drawn(40, 6, 4, seed=3)
    z = w.norm(dim=1) * lengths(x)[:, None] * angles(x, w).deg2rad().cos() + b
    assert torch.allclose(z, x @ w.T + b)
    assert torch.allclose(angles(1e-100 * x, 1e100 * w), angles(x, w))  # scale says nothing of direction


def test_features_and_classes_without_a_direction():
    w, b = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]), torch.tensor([0.0, 0.5, 0.0])
    x = torch.tensor([[0.0, 0.0], [2.0, 0.0], [float("nan"), 0.0]])
    assert angles(x, w)[:2].tolist() == [[90.0, 90.0, 90.0], [0.0, 90.0, 0.0]]
    assert angles(x, w)[2].isnan().all()
    # Equal weights and biases: a tie, distance 0. Nothing that is not a number is recognised.
    assert margins(x, w, b, torch.tensor([1, 0, 0])).tolist() == [0.5, 0.0, -inf]
    apart = margins(x[1:2], w[[0, 2]], torch.tensor([0.0, -1.0]), torch.tensor([0]))
    assert apart.item() == inf  # nowhere does the other class win


def test_auroc_by_eye_and_by_counting_pairs():
    g = np.random.default_rng(0)
    score, hit, group = g.integers(0, 6, 60).astype(float), g.random(60) < 0.4, g.integers(0, 3, 60)
    pairs = [(a > b) + (a == b) / 2 for a in score[hit] for b in score[~hit]]
    assert auroc(score, hit) == pytest.approx(np.mean(pairs))
    inside = [
        (score[i] > score[j]) + (score[i] == score[j]) / 2
        for i in np.flatnonzero(hit)
        for j in np.flatnonzero(~hit)
        if group[i] == group[j]
    ]
    assert auroc_within(score, hit, group) == pytest.approx(np.mean(inside))
    assert auroc(score, np.ones(60, bool)) is None


def seen(margin, label=None, angle=None, length=None) -> Seen:
    """Images of two classes; those with a negative margin are taken for the other class."""
    margin = np.asarray(margin, dtype=float)
    label = np.zeros(len(margin), int) if label is None else np.asarray(label)
    angle = np.full(len(margin), 60.0) if angle is None else np.asarray(angle, dtype=float)
    length = np.ones(len(margin)) if length is None else np.asarray(length, dtype=float)
    both = np.full((len(margin), 2), 90.0)
    both[np.arange(len(margin)), label] = angle
    return Seen(label, np.where(margin < 0, 1 - label, label), both, length, margin)


def test_what_is_said_of_four_images_and_their_showings():
    clean = seen([3.0, 1.0, 0.5, -1.0], label=[0, 0, 1, 1], angle=[50, 60, 70, 80], length=[4, 4, 1, 2])
    said = of_clean(clean)
    assert (said["angle_mean"], said["length_mean"], said["margin_median"]) == (65.0, 2.75, 0.75)
    assert said["angle_gap"] == 80 - 60
    # Kind 0 at severity 1 shows all, at severity 2 the first alone; kind 1 at severity 1 the first two.
    shown = Showings(
        seen([2.0, -1.0, -1.0, -1.0, -0.5, 1.0, -1.0], label=[0, 0, 1, 1, 0, 0, 0]),
        row=np.array([0, 1, 2, 3, 0, 0, 1]),
        kind=np.array([0, 0, 0, 0, 0, 1, 1]),
        severity=np.array([1, 1, 1, 1, 2, 1, 1]),
    )
    found = of_shown(clean, shown)
    assert found["mca"] == pytest.approx(((1 / 4 + 0) / 2 + 1 / 2) / 2)
    assert found["rel_robustness"] == pytest.approx(found["mca"] / 0.75)
    assert found["flips"] == pytest.approx(4 / 6, abs=1e-6)  # the fourth image is not recognised clean
    # Flipped: margins 1, 0.5, 3, 1; not: 3 twice. Of 8 pairs six are warned of, two tie.
    assert found["flip_auroc_margin"] == pytest.approx(7 / 8)
    # Within kind 0, severity 1: both pairs; within kind 1: the one pair.
    assert found["flip_auroc_within_margin"] == 1.0
    assert of_classes(clean, shown)["flips"] == [pytest.approx(0.6), 1.0]
    table = shown.table(np.arange(7.0), 4, 2)
    assert table[0, 1].tolist()[0] == 4
    assert np.isnan(table[1, 1]).all()
    assert gap(seen([1.0, 2.0])) is None


def test_redundancy_compares_within_a_severity_and_only_what_both_were_shown():
    g = np.random.default_rng(1)
    clean = g.normal(size=200)
    harm = np.array([0.0, 5.0])[:, None]
    alike, other = clean - harm + 0.01 * g.normal(size=(2, 200)), g.normal(size=(2, 200)) - harm
    found = redundancy(np.stack([clean - harm, alike, other]))
    assert found[0][1] > 0.99
    assert abs(found[0][2]) < 0.2
    some = np.stack([clean - harm, alike, other])
    some[1, :, 100:] = some[2, :, :100] = np.nan
    part = redundancy(some)
    assert part[0][1] == pytest.approx(np.mean([spearman(clean[:100], alike[s, :100]) for s in (0, 1)]), abs=1e-4)
    assert part[1][2] is None
    assert part[0][0] is None
    crossed = np.full((2, 2, 200), np.nan)  # both shown, but never at the same severity
    crossed[0, 0], crossed[1, 1] = clean, alike[1]
    assert redundancy(crossed)[0][1] == pytest.approx(spearman(clean, alike[1]), abs=1e-4)


def spearman(a, b) -> float:
    from scipy.stats import spearmanr

    return spearmanr(a, b).statistic


def test_the_plane_is_the_one_of_a_singular_value_decomposition_and_is_turned_back():
    g = np.random.default_rng(2)
    for shape in ((50, 6), (6, 50)):
        x = g.normal(size=shape) * np.linspace(3, 1, shape[1])
        mean, axes, share = principal(x)
        _, values, rows = np.linalg.svd(x - x.mean(0), full_matrices=False)
        assert np.allclose(np.abs(axes.T @ rows[:2].T), np.eye(2), atol=1e-6)
        assert np.allclose(share, (values**2 / (values**2).sum())[:2])
        flat = (x - mean) @ axes
        turned = flat @ np.array([[0.6, 0.8], [0.8, -0.6]])
        assert np.allclose(turned @ turn(turned, flat), flat)


@pytest.mark.parametrize(
    ("network", "arguments"),
    [("mlp", {"hidden": (16, 12)}), ("resnet8", {"width": 4}), ("vgg8", {"width": 4}), ("vit_digits", {})],
)
def test_features_of_every_family_times_the_head_are_the_logits(network, arguments):
    torch.manual_seed(0)
    net = build(network, SHAPE, 10, **arguments).train()
    batches = [(torch.randn(5, *SHAPE), torch.arange(5)), (torch.randn(3, *SHAPE), torch.arange(3))]
    x, z, y, head = features(net, batches)
    assert net.training
    assert x.shape == (8, head.in_features)
    assert y.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert torch.allclose(x @ head.weight.double().T + head.bias.double(), z, atol=1e-4)
    with torch.no_grad():
        assert torch.allclose(net.eval()(batches[1][0]).double(), z[5:])
    layers = by_layer(net, net, batches)
    assert all(row["relative"] == 1 and row["angle"] < 0.01 for row in layers.values())


def test_layers_of_a_scaled_and_of_a_narrower_network():
    torch.manual_seed(0)
    dense, half, narrow = (build("mlp", SHAPE, 10, hidden=(n,)) for n in (6, 6, 4))
    half.load_state_dict(dense.state_dict())
    with torch.no_grad():
        half.fc1.weight.mul_(-0.5)
        half.fc1.bias.mul_(-0.5)
    batches = [(torch.randn(7, *SHAPE),)]
    found = by_layer(half, dense, batches)["fc1"]
    assert found["relative"] == pytest.approx(0.5, abs=1e-5)
    assert found["angle"] == pytest.approx(180, abs=0.05)
    assert by_layer(narrow, dense, batches)["fc1"]["angle"] is None


def test_a_network_without_a_linear_head_is_refused():
    batch = [(torch.randn(2, 3), torch.zeros(2, dtype=torch.long))]
    with pytest.raises(NoLinearHead, match="leave the measure out"):
        features(nn.Sequential(nn.Linear(3, 2), nn.LogSoftmax(1)), batch)
    with pytest.raises(NoLinearHead):
        features(nn.Sequential(nn.Flatten(), nn.Identity(), Bilinear()), batch)


class Bilinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 2))

    def forward(self, x):
        return x @ self.weight
