"""OBC against a greedy search that solves the least squares of every candidate at every step."""

from __future__ import annotations

import heapq
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from sparsebench import prune
from sparsebench.criteria import obc
from sparsebench.errors import UsageError
from sparsebench.scoring import cross_entropy
from tests.criteria.test_layerwise import assert_same, data, double, hessian, layer_by_layer, magnitude_counts, narrow
from tests.networks import NETWORKS, batches, network
from tests.test_calibration import caught_inputs, output_sum


def greedy(w: np.ndarray, h: np.ndarray) -> list[tuple[int, float]]:
    """(weight, cost) in the order of removal; each candidate's error by least squares over all that would be left."""

    def error(left: list[int]) -> float:
        change = -w.copy()
        change[left] += np.linalg.solve(h[np.ix_(left, left)], h[left] @ w)
        return 0.5 * change @ h @ change

    left, before, trace = list(range(len(w))), 0.0, []
    while left:
        after, p = min((error([q for q in left if q != p]), p) for p in left)
        trace.append((p, after - before))
        left.remove(p)
        before = after
    return trace


def merged(weight: np.ndarray, h: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """The row whose next removal is cheapest goes next; then least squares for the mask of each row."""
    keep = np.ones(weight.shape, bool)
    traces = {(g, r): greedy(weight[g, r], h[g]) for g, r in np.ndindex(*weight.shape[:2])}
    heads = [(trace[0][1], place, 0) for place, trace in traces.items()]
    heapq.heapify(heads)
    for _ in range(weight.size - kept):
        _, place, i = heapq.heappop(heads)
        keep[(*place, traces[place][i][0])] = False
        if i + 1 < len(traces[place]):
            heapq.heappush(heads, (traces[place][i + 1][1], place, i + 1))
    return keep, least_squares(weight, h, keep)


def least_squares(weight: np.ndarray, h: np.ndarray, keep: np.ndarray) -> np.ndarray:
    new = np.zeros(weight.shape)
    for g, r in np.ndindex(*weight.shape[:2]):
        left = np.flatnonzero(keep[g, r])
        new[g, r, left] = np.linalg.solve(h[g][np.ix_(left, left)], h[g][left] @ weight[g, r])
    return new


@pytest.mark.parametrize("kind", NETWORKS)
def test_obc_on_every_kind_of_network(kind, monkeypatch):
    monkeypatch.setattr(obc, "CHUNK", 2000)  # some rows at a time
    model, other = double(kind), double(kind)
    scope = narrow(model, 20)
    counts = magnitude_counts(model, 0.6, "uniform", scope).counts

    def solve(name, weight, x):
        return merged(weight, np.stack([hessian(one) for one in x]), counts[name])

    expected = layer_by_layer(other, list(counts), data(), cross_entropy, solve)
    assert_same(prune(model, "obc", sparsity=0.6, data=data(), scope=scope), model, expected, other)


@pytest.mark.parametrize("sparsity", [0.3, 0.8])
def test_obc_merges_rows_of_costs_that_fall(sparsity):
    """Opposite inputs cancel: the first of such a pair is dear, the second then costs nothing."""
    torch.manual_seed(2)
    half = torch.randn(50, 3, dtype=torch.float64)
    x = torch.cat([half, -half], 1) + 0.05 * torch.randn(50, 6, dtype=torch.float64)
    model = nn.Sequential(nn.Conv1d(12, 6, 1, groups=2)).double()
    with torch.no_grad():
        model[0].weight[:, 3:] = model[0].weight[:, :3] + 0.01 * model[0].weight[:, 3:]
    weight = model[0].weight.detach().clone().numpy().reshape(2, 3, 6)
    x = torch.cat([x, x.flip(1)], 1)[..., None]
    h = np.stack([hessian(one) for one in caught_inputs(model, "0", [x], output_sum)])
    assert any(b[1] < 0.5 * a[1] for row in weight[0] for a, b in pairwise(greedy(row, h[0])))
    keep, new = merged(weight, h, round((1 - sparsity) * 36))
    masks = prune(model, "obc", sparsity=sparsity, data=[x], loss=output_sum)
    assert np.array_equal(masks["0.weight"].numpy().reshape(keep.shape), keep)
    np.testing.assert_allclose(model[0].weight.detach().numpy().reshape(keep.shape), new, rtol=1e-6, atol=1e-12)


def test_obc_by_row_takes_each_row_as_far_as_it_should():
    model = nn.Linear(9, 4).double()
    weight, x = model.weight.detach().clone().numpy(), torch.randn(30, 9, dtype=torch.float64).cumsum(1)
    h = hessian(x.numpy())
    mask = prune(model, "obc/row", sparsity=20 / 36, data=[x], loss=output_sum)["weight"]
    for r in range(4):
        assert {p for p, _ in greedy(weight[r], h)[:5]} == set(np.flatnonzero(~mask[r]))


def test_obc_n_of_m_skips_full_groups():
    model = nn.Sequential(nn.Conv2d(4, 3, (1, 2))).double()
    weight, x = model[0].weight.detach().clone(), torch.randn(30, 4, 4, 4, dtype=torch.float64).cumsum(1)
    h = hessian(caught_inputs(model, "0", [x], output_sum)[0])
    mask = prune(model, "obc/2:4", sparsity=0.5, data=[x], loss=output_sum)["0.weight"]
    for r in range(3):
        left, w = list(range(8)), weight[r].flatten().numpy()  # column = input channel * 2 + kernel position
        while open_to_go := [p for p in left if sum(q % 2 == p % 2 for q in left) > 2]:

            def error(p):
                keep = np.isin(np.arange(8), [q for q in left if q != p])  # noqa: B023
                change = least_squares(w[None, None], h[None], keep[None, None])[0, 0] - w  # noqa: B023
                return change @ h @ change

            left.remove(min(open_to_go, key=error))
        assert set(left) == set(np.flatnonzero(mask[r].flatten()))


def test_obc_refuses_wide_layers():
    with pytest.raises(UsageError, match=r"fc1\.weight \(64\).*widest=63.*sparsegpt"):
        prune(network("mlp"), "obc", sparsity=0.5, data=batches(), widest=63)
