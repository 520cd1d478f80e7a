"""Second-order scores and solvers against dense matrices in numpy."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from sparsebench import prune, scores
from sparsebench.budget import Budget
from sparsebench.criteria.chita import Quadratic, hard_thresholding
from sparsebench.errors import UsageError
from sparsebench.functional import pruning
from sparsebench.masks import Masks
from sparsebench.per_example import flatten, unflatten
from sparsebench.registry import criterion, solver
from sparsebench.scope import scope_of
from sparsebench.scoring import cross_entropy
from sparsebench.selection import select
from tests.networks import NETWORKS, batches, network

SOLVERS = {"woodfisher": {"block": 50}, "chita": {"ridge": 0.01}}


def in_double(data=None) -> list:
    return [(x.double(), y) for x, y in data or batches()]


def ready(kind: str) -> tuple[nn.Module, dict]:
    net = network(kind).double().eval()
    return net, scope_of(net).prunable


def tiny(bias: bool = True) -> tuple[nn.Module, dict]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3, bias=bias), nn.Tanh(), nn.Linear(3, 10, bias=bias)).double()
    return net, scope_of(net).prunable


def rows(net, params, data, loss=cross_entropy) -> np.ndarray:
    """Gradients of single examples by a plain loop, ``[m, p]``."""
    found = []
    for x, y in data:
        for i in range(len(x)):
            grads = torch.autograd.grad(loss(net, (x[i : i + 1], y[i : i + 1])), list(params.values()))
            found.append(torch.cat([g.flatten() for g in grads]).numpy())
    return np.stack(found)


def values(tensors: dict) -> np.ndarray:
    return torch.cat([t.detach().flatten() for t in tensors.values()]).double().numpy()


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-6) -> None:
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < tolerance


# Diagonals


@pytest.mark.parametrize("kind", NETWORKS)
def test_fisher_is_half_the_mean_squared_gradient_times_the_squared_weight(kind):
    net, params = ready(kind)
    g, w = rows(net, params, in_double()), values(params)
    found = values(scores(net, "fisher", in_double()))
    assert_close(found, (g**2).mean(0) * w**2 / 2)
    of_the_batch = g.mean(0) ** 2 * w**2 / 2
    assert of_the_batch.sum() < 0.5 * found.sum()


def test_fisher_does_not_depend_on_how_examples_are_batched():
    net, _ = ready("resnet8")
    x, y = (torch.cat(parts) for parts in zip(*in_double(), strict=True))
    assert_close(values(scores(net, "fisher", [(x, y)])), values(scores(net, "fisher", in_double())), 1e-12)


@pytest.mark.parametrize("kind", NETWORKS)
def test_obd_averages_squares_over_the_labels_the_network_expects(kind):
    net, params = ready(kind)
    data, h = in_double(), 0.0
    for c in range(10):
        g = rows(net, params, [(x, torch.full_like(y, c)) for x, y in data])
        p = np.concatenate([torch.softmax(net(x), 1)[:, c].detach().numpy() for x, _ in data])
        h = h + (p[:, None] * g**2).mean(0)
    assert_close(values(scores(net, "obd", data)), h * values(params) ** 2 / 2)


def test_obd_is_the_diagonal_of_the_gauss_newton_matrix_built_by_finite_differences():
    net, params = tiny()
    x = torch.cat([x for x, _ in in_double()])
    flat, step = flatten(params), 1e-5

    def logits(at: torch.Tensor) -> np.ndarray:
        return functional_call(net, unflatten(at, params), (x,)).detach().numpy()

    jacobian = np.zeros((len(x), 10, len(flat)))
    for q in range(len(flat)):
        nudge = torch.zeros_like(flat)
        nudge[q] = step
        jacobian[:, :, q] = (logits(flat + nudge) - logits(flat - nudge)) / (2 * step)
    p = torch.softmax(net(x), 1).detach().numpy()
    curvature = np.einsum("nc,cd->ncd", p, np.eye(10)) - p[:, :, None] * p[:, None]
    matrix = np.einsum("ncq,ncd,ndr->qr", jacobian, curvature, jacobian, optimize=True) / len(x)
    assert_close(values(scores(net, "obd", in_double())), np.diag(matrix) * values(params) ** 2 / 2)


def test_obd_does_not_look_at_labels_and_can_draw_them():
    net, _ = tiny()
    exact = values(scores(net, "obd", in_double()))
    assert (values(scores(net, "obd", [(x, y * 0) for x, y in in_double()])) == exact).all()
    many = [(x.repeat(30, 1, 1, 1), y.repeat(30)) for x, y in in_double()]
    drawn = values(scores(net, "obd", many, classes=9))
    assert not (drawn == exact).all()
    assert_close(drawn, exact, 0.07)


def test_obd_refuses_what_its_curvature_is_not_of():
    net, _ = tiny()
    with pytest.raises(UsageError, match=r"cross-entropy only.*fisher"):
        scores(net, "obd", in_double(), loss=lambda model, batch: cross_entropy(model, batch))
    with pytest.raises(UsageError, match="classes=0"):
        scores(net, "obd", in_double(), classes=0)
    with pytest.raises(UsageError, match="not a pair"):
        scores(net, "obd", [in_double()[0][0]])
    with pytest.raises(UsageError, match=r"\[examples, classes\].*fisher"):
        scores(nn.Conv2d(1, 3, 1), "obd", [(torch.randn(2, 1, 4, 4), torch.zeros(2, 4, 4, dtype=torch.long))])


# WoodFisher


def fisher_block(g: np.ndarray, damp: float) -> np.ndarray:
    return damp * np.eye(g.shape[1]) + g.T @ g / len(g)


def block_slices(params: dict, block: int) -> list[slice]:
    """Blocks of consecutive entries of each tensor, the last of a tensor shorter."""
    found, first = [], 0
    for p in params.values():
        ends = [*range(0, p.numel(), block), p.numel()]
        found += [slice(first + a, first + b) for a, b in pairwise(ends)]
        first += p.numel()
    return found


@pytest.mark.parametrize(("kind", "block"), [(k, 7) for k in NETWORKS] + [(k, 50) for k in NETWORKS] + [("mlp", 500)])
def test_woodfisher_divides_by_the_diagonal_of_the_dense_inverse(kind, block):
    net, params = ready(kind)
    g, w, damp = rows(net, params, in_double()), values(params), 1e-4
    expected = np.zeros_like(w)
    for s in block_slices(params, block):
        expected[s] = w[s] ** 2 / (2 * np.diag(np.linalg.inv(fisher_block(g[:, s], damp))))
    assert_close(values(scores(net, "woodfisher", in_double(), block=block, damp=damp)), expected)


@pytest.mark.parametrize("damp", [1e-5, 1e-7])
def test_woodfisher_is_exact_in_single_precision_too(damp):
    net, params = ready("vgg")
    found = values(scores(net.float(), "woodfisher", batches(), damp=damp, block=64))
    g, w = rows(net, scope_of(net).prunable, batches()).astype(float), values(scope_of(net).prunable)
    expected = np.zeros_like(w)
    for s in block_slices(params, 64):
        expected[s] = w[s] ** 2 / (2 * np.diag(np.linalg.inv(fisher_block(g[:, s], damp))))
    assert_close(found, expected, 1e-4)


def test_woodfisher_takes_as_many_gradients_as_asked_for():
    net, _ = ready("mlp")
    x, y = in_double()[0]
    few = values(scores(net, "woodfisher", in_double(), gradients=5))
    assert_close(few, values(scores(net, "woodfisher", [(x[:5], y[:5])])), 1e-12)


def solved(name, net, params, density, masks=None, allocation="global", **arguments):
    criterion.get(name)
    budget = Budget(density, allocation, masks or Masks.dense(net, params))
    return solver.get(name)(net, params, in_double(), cross_entropy, budget, **arguments)


@pytest.mark.parametrize("block", [10, 40])
def test_kept_weights_solve_the_constrained_quadratic_problem(block):
    net, params = ready("resnet8")
    g, w, damp = rows(net, params, in_double()), values(params), 1e-3
    masks, new = solved("woodfisher", net, params, 0.4, block=block, damp=damp)
    gone, moved = ~values(masks).astype(bool), values(new) - w
    expected = np.zeros_like(w)
    for s in block_slices(params, block):
        fisher, removed = fisher_block(g[:, s], damp), np.flatnonzero(gone[s])
        constraint = np.eye(len(fisher))[removed]
        # Stationarity F d + E^T multipliers = 0 and the constraint E d = -w_Q, as one system.
        system = np.block([[fisher, constraint.T], [constraint, np.zeros((len(removed), len(removed)))]])
        right = np.concatenate([np.zeros(len(fisher)), -w[s][removed]])
        expected[s] = np.linalg.lstsq(system, right, rcond=None)[0][: len(fisher)]
    assert_close(moved, expected)
    assert (values(new)[gone] == 0).all()
    # The published sum of single moves, with the removed weights set to zero in the end, costs more.
    cost = {"joint": 0.0, "single": 0.0}  # of all blocks
    for s in block_slices(params, block):
        fisher = fisher_block(g[:, s], damp)
        inverse, removed = np.linalg.inv(fisher), gone[s]
        single = -(inverse / np.diag(inverse))[:, removed] @ w[s][removed]
        single[removed] = -w[s][removed]
        for name, d in (("joint", moved[s]), ("single", single)):
            cost[name] += d @ fisher @ d / 2
    assert cost["joint"] < 0.999 * cost["single"]


def test_one_removed_weight_moves_the_others_by_the_published_formula():
    net, params = tiny(bias=False)
    size = sum(p.numel() for p in params.values())
    g, w, damp = rows(net, params, in_double()), values(params), 1e-3
    masks, new = solved("woodfisher", net, params, (size - 1) / size, block=1000, damp=damp)
    (q,) = np.flatnonzero(values(masks) == 0)
    s = next(s for s in block_slices(params, 1000) if s.start <= q < s.stop)
    inverse = np.linalg.inv(fisher_block(g[:, s], damp))
    column = inverse[:, q - s.start]
    expected = np.zeros_like(w)
    expected[s] = -w[q] * column / column[q - s.start]
    assert_close(values(new) - w, expected)


def test_weights_pruned_before_are_no_part_of_the_fisher_matrix():
    net, params = ready("mlp")
    masks, new = solved("woodfisher", net, params, 0.5, block=30, damp=1e-3)
    with torch.no_grad():
        for name, p in params.items():
            p.copy_(new[name])
    g, w, alive = rows(net, params, in_double()), values(params), values(masks).astype(bool)
    expected = np.zeros_like(w)
    for s in block_slices(params, 30):
        own = np.flatnonzero(alive[s]) + s.start
        expected[own] = w[own] ** 2 / (2 * np.diag(np.linalg.inv(fisher_block(g[:, own], 1e-3))))
    again, _ = solved("woodfisher", net, params, 0.25, masks, block=30, damp=1e-3)
    assert again == select(unflatten(torch.tensor(expected), params), 0.25, masks=masks)
    assert again.nested_in(masks)


# CHITA


def quadratic(net, params, ridge=0.01, first_order=True) -> Quadratic:
    g = torch.tensor(rows(net, params, in_double()))
    return Quadratic(g, flatten(params), ridge, first_order)


def objective(g, w, b, ridge, first_order=True) -> float:
    y = g @ w - first_order
    return float(((g @ b - y) ** 2).sum() / 2 + len(g) * ridge / 2 * ((b - w) ** 2).sum())


@pytest.mark.parametrize("first_order", [True, False])
def test_the_quadratic_is_the_published_objective_and_its_slope_a_difference_quotient(first_order):
    net, params = tiny()
    q, g, w = quadratic(net, params, 0.3, first_order), rows(net, params, in_double()), values(params)
    b = w + np.random.default_rng(0).normal(size=w.shape)
    assert float(q.value(torch.tensor(b))) == pytest.approx(objective(g, w, b, 0.3, first_order), rel=1e-10)
    slope = q.slope(torch.tensor(b)).numpy()
    for i in (0, 17, len(w) - 1):
        ahead, behind = b.copy(), b.copy()
        ahead[i], behind[i] = b[i] + 1e-4, b[i] - 1e-4
        rise = objective(g, w, ahead, 0.3, first_order) - objective(g, w, behind, 0.3, first_order)
        assert slope[i] == pytest.approx(rise / 2e-4, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_raw_score_is_the_first_iterate(kind):
    net, params = ready(kind)
    g, w, ridge = rows(net, params, in_double()), values(params), 0.01
    largest = np.linalg.eigvalsh(g @ g.T)[-1] + len(g) * ridge
    assert_close(values(scores(net, "chita", in_double(), ridge=ridge)), np.abs(w - g.sum(0) / largest), 1e-3)
    if kind == "mlp":
        without = values(scores(net, "chita", in_double(), ridge=ridge, first_order=False))
        assert_close(without, np.abs(w), 1e-12)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_objective_falls_from_magnitude_to_the_exact_minimum_on_the_places_found(kind):
    net, params = ready(kind)
    q, g, w = quadratic(net, params), rows(net, params, in_double()), values(params)
    budget = Budget(0.2, "global", Masks.dense(net, params))
    trail = list(hard_thresholding(q, lambda b: budget.select(unflatten(b.abs(), params)), 50))
    falling = [objective(g, w, b.numpy(), 0.01) for b, _ in trail]
    assert len(falling) > 3
    assert (np.diff(falling) < 0).all()
    assert trail[0][1] == select({n: p.detach().abs() for n, p in params.items()}, 0.2)
    masks, new = solved("chita", net, params, 0.2, ridge=0.01)
    assert masks == trail[-1][1]
    kept, best = values(masks).astype(bool), np.zeros_like(w)
    # The two terms as one least-squares problem.
    tall = np.concatenate([g[:, kept], np.sqrt(len(g) * 0.01) * np.eye(kept.sum())])
    right = np.concatenate([g @ w - 1, np.sqrt(len(g) * 0.01) * w[kept]])
    best[kept] = np.linalg.lstsq(tall, right, rcond=None)[0]
    assert_close(values(new), best)
    assert (values(new)[~kept] == 0).all()
    assert objective(g, w, best, 0.01) < falling[-1]


def test_chita_goes_most_of_the_way_from_magnitude_to_the_best_of_all_supports():
    size, k, ways = 9, 3, []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        g, w = rng.normal(size=(6, size)), rng.normal(size=size)
        q, params = Quadratic(torch.tensor(g), torch.tensor(w), 0.05, True), {"w": torch.tensor(w)}

        def least(kept: torch.Tensor, q=q, g=g, w=w) -> float:
            return objective(g, w, q.minimum_on(kept).numpy(), 0.05)

        best = min(least(torch.tensor([i in kept for i in range(size)])) for kept in combinations(range(size), k))
        trail = list(hard_thresholding(q, lambda b, p=params: select(unflatten(b.abs(), p), k / size), 100))
        ways.append((least(trail[0][1]["w"]), least(trail[-1][1]["w"]), best))
        assert ways[-1][1] >= best - 1e-12
    by_magnitude, found, best = np.mean(ways, axis=0)
    assert by_magnitude - found > 0.5 * (by_magnitude - best)


def test_stages_look_again_and_stay_nested_and_exact():
    net, params = ready("mlp")
    once, _ = solved("chita", *ready("mlp"), 0.1, ridge=0.01)
    masks, new = solved("chita", net, params, 0.1, ridge=0.01, stages=2)
    other, sub = ready("mlp")
    half, weights = solved("chita", other, sub, 0.1**0.5, ridge=0.01)
    with torch.no_grad():
        for name, p in sub.items():
            p.copy_(weights[name])
    rest, by_hand = solved("chita", other, sub, 0.1, half, ridge=0.01)
    assert masks == rest != once
    assert masks.nested_in(half)
    assert_close(values(new), values(by_hand), 1e-12)
    with pytest.raises(UsageError, match="stages=2"):
        solved("chita", net, params, 0.5, allocation="2:4", stages=2)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("name", SOLVERS)
def test_counts_are_exact_and_masks_nested(name, kind):
    net = network(kind)
    size, masks = scope_of(net).size, None
    for sparsity in (0.3, 0.9, 0.99):
        smaller = prune(net, name, sparsity=sparsity, data=batches(), masks=masks, **SOLVERS[name])
        assert smaller.kept == round(round(1 - sparsity, 12) * size)
        assert masks is None or smaller.nested_in(masks)
        masks = smaller
        for n, p in scope_of(net).prunable.items():
            assert (p[~masks[n]] == 0).all()
            assert torch.isfinite(p).all()


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("allocation", ["erk", "2:4", "block4x4", "row"])
def test_other_allocations_have_their_counts(name, allocation):
    net = network("mlp")
    masks = pruning(net, name, sparsity=0.5, allocation=allocation, data=batches(), **SOLVERS[name]).masks
    if allocation == "block4x4":  # blocks are kept while they fit
        assert masks.total // 2 - 16 < masks.kept <= masks.total // 2
    else:
        raw = {n: p.detach().abs() for n, p in scope_of(net).prunable.items()}
        assert masks.counts == select(raw, 0.5, allocation=allocation).counts
    if allocation == "2:4":
        assert (masks["fc2.weight"].view(-1, 4).sum(1) == 2).all()


@pytest.mark.parametrize("name", SOLVERS)
def test_the_loss_after_the_update_is_lower_than_with_the_same_masks_alone(name):
    torch.manual_seed(0)
    net = network("mlp")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x, y = (torch.cat(parts) for parts in zip(*batches(), strict=True))
    for _ in range(30):
        optimizer.zero_grad()
        cross_entropy(net, (x, y)).backward()
        optimizer.step()
    result = pruning(net, name, sparsity=0.6, data=batches(), **SOLVERS[name])
    losses = []
    for weights in ({}, result.weights):
        copy = network("mlp")
        copy.load_state_dict(net.state_dict())
        with torch.no_grad():
            for n, value in weights.items():
                copy.get_parameter(n).copy_(value)
        result.masks.apply(copy)
        losses.append(float(cross_entropy(copy, (x, y)).detach()))
    assert losses[1] < losses[0]


WRONG = {"woodfisher": ("block", "damp", "gradients"), "chita": ("ridge", "stages", "iterations")}


@pytest.mark.parametrize(("name", "argument"), [(name, argument) for name in WRONG for argument in WRONG[name]])
def test_refusals(name, argument):
    net = network("mlp")
    with pytest.raises(UsageError, match=f"{argument}=0"):
        scores(net, name, batches(), **{argument: 0})
    with pytest.raises(UsageError, match=f"{argument}=0"):
        prune(net, name, sparsity=0.5, data=batches(), **{argument: 0})
