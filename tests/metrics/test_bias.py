"""CEV and SDE on three classes by hand, against a loop over a confusion matrix, and where they are undefined."""

from __future__ import annotations

import numpy as np
import pytest

from sparsebench.errors import UsageError
from sparsebench.metrics.bias import bias


def counts(matrix: np.ndarray) -> dict[str, list[int]]:
    hits = matrix.diagonal()
    return {
        "n": matrix.sum(1).tolist(), "tp": hits.tolist(),
        "fp": (matrix.sum(0) - hits).tolist(), "fn": (matrix.sum(1) - hits).tolist(),
    }  # fmt: skip


def by_loop(matrix: np.ndarray, dense: np.ndarray, extra: int) -> tuple[float, float]:
    """The formulas, class by class, from the four cells of each class's two-by-two table."""

    def rates(m, i):
        tp = m[i, i]
        fp = sum(m[j, i] for j in range(len(m)) if j != i)
        fn = sum(m[i, j] for j in range(len(m)) if j != i)
        tn = m.sum() - tp - fp - fn
        return (fp + extra) / (fp + tn + 2 * extra), (fn + extra) / (fn + tp + 2 * extra)

    changes = []
    for i in range(len(matrix)):
        (p, n), (p0, n0) = rates(matrix, i), rates(dense, i)
        changes.append(((p - p0) / p0, (n - n0) / n0))
    mean = [sum(c[k] for c in changes) / len(changes) for k in (0, 1)]
    spread = sum((c[0] - mean[0]) ** 2 + (c[1] - mean[1]) ** 2 for c in changes) / len(changes)
    return spread, sum(abs(c[0] - c[1]) for c in changes) / len(changes)


def random_matrix(generator: np.random.Generator, error: float) -> np.ndarray:
    rows = []
    for i in range(4):
        p = np.full(4, error / 3)
        p[i] = 1 - error
        rows.append(generator.multinomial(50, p))
    return np.array(rows)


@pytest.mark.parametrize("seed", range(3))
def test_against_the_loop(seed):
    generator = np.random.default_rng(seed)
    dense, pruned = random_matrix(generator, 0.3), random_matrix(generator, 0.5)
    found = bias(counts(pruned), counts(dense))
    assert (found["cev"], found["sde"]) == pytest.approx(by_loop(pruned, dense, 0))
    assert (found["cev_s1"], found["sde_s1"]) == pytest.approx(by_loop(pruned, dense, 1))


def test_uniform_degradation_is_no_bias():
    """Both errors of both classes double."""
    found = bias(counts(np.array([[6, 4], [4, 6]])), counts(np.array([[8, 2], [2, 8]])))
    assert (found["cev"], found["sde"]) == (0, 0)


def test_one_class_pays_by_hand():
    """Class 0 misses 4 instead of 2 (dN = 1), so class 1 gets 4 false positives instead of 2 (dP = 1).

    d = (0, 1) and (1, 0), mean (1/2, 1/2): squared distances 1/2 and 1/2, |dP - dN| = 1 and 1.
    """
    found = bias(counts(np.array([[6, 4], [2, 8]])), counts(np.array([[8, 2], [2, 8]])))
    assert (found["cev"], found["sde"]) == (pytest.approx(0.5), pytest.approx(1.0))


def test_a_perfect_dense_class_leaves_only_the_smoothed_versions():
    found = bias(counts(np.array([[9, 1], [1, 9]])), counts(np.array([[10, 0], [1, 9]])))
    assert found["cev"] is None
    assert found["sde"] is None
    assert found["cev_s1"] > 0


def test_the_dense_network_against_itself():
    dense = counts(np.array([[8, 2], [1, 9]]))
    assert bias(dense, dense) == {"cev": 0, "sde": 0, "cev_s1": 0, "sde_s1": 0}


def test_other_samples_are_refused():
    with pytest.raises(UsageError, match="same samples"):
        bias(counts(np.array([[8, 2], [1, 9]])), counts(np.array([[8, 2], [1, 8]])))
