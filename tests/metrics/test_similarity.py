"""SVCCA and linear CKA against other computations: CCA by whitening, CKA by kernels of the images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparsebench.errors import UsageError
from sparsebench.metrics.similarity import cka_distance, svcca_distance


def by_whitening(x: np.ndarray, y: np.ndarray) -> float:
    """Canonical correlations as singular values of the whitened cross-covariance."""

    def reduced(a):
        values, vectors = np.linalg.eigh(a.T @ a)
        size = np.sqrt(values[::-1].clip(0))
        kept = max(1, int((np.cumsum(size) / size.sum() < 0.99).sum()))
        a = a @ vectors[:, ::-1][:, :kept]
        return a - a.mean(0)

    def root(covariance):
        values, vectors = np.linalg.eigh(covariance)
        return vectors @ np.diag(values**-0.5) @ vectors.T

    x, y = reduced(x), reduced(y)
    white = root(x.T @ x) @ (x.T @ y) @ root(y.T @ y)
    return 1 - np.linalg.svd(white, compute_uv=False).sum() / min(x.shape[1], y.shape[1])


def by_kernels(x: np.ndarray, y: np.ndarray) -> float:
    centre = np.eye(len(x)) - 1 / len(x)
    k, m = (centre @ a @ a.T @ centre for a in (x, y))
    return 1 - (k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum())


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape) + 0.5


@pytest.mark.parametrize("other", [7, 3])
def test_against_other_computations(other):
    x = draw(0, 60, 7)
    y = x @ draw(1, 7, other) + 0.7 * draw(2, 60, other)
    found = [f(torch.tensor(x), torch.tensor(y)) for f in (svcca_distance, cka_distance)]
    assert found == pytest.approx([by_whitening(x, y), by_kernels(x, y)], abs=1e-9)
    assert 0.05 < found[0] < 0.9


def test_maps_are_compared_position_by_position():
    x, y = draw(3, 40, 5, 2, 3), draw(4, 40, 4, 2, 3)
    for distance, oracle in ((svcca_distance, by_whitening), (cka_distance, by_kernels)):
        each = [oracle(x[:, :, i, j], y[:, :, i, j]) for i in range(2) for j in range(3)]
        assert distance(torch.tensor(x), torch.tensor(y)) == pytest.approx(np.mean(each), abs=1e-9)
    tokens = [torch.tensor(a).flatten(2).transpose(1, 2) for a in (x, y)]
    assert svcca_distance(*tokens) == pytest.approx(svcca_distance(torch.tensor(x), torch.tensor(y)))


def test_large_maps_are_averaged_down():
    x, y = torch.tensor(draw(5, 30, 2, 32, 32)), torch.tensor(draw(6, 30, 2, 32, 32))
    small = [a.unflatten(3, (16, 2)).unflatten(2, (16, 2)).mean((3, 5)) for a in (x, y)]
    assert svcca_distance(x, y) == pytest.approx(svcca_distance(*small))


def test_turned_scaled_and_permuted_is_the_same():
    x = torch.tensor(draw(7, 50, 6))
    turn = torch.linalg.qr(torch.tensor(draw(8, 6, 6)))[0]
    for distance in (svcca_distance, cka_distance):
        assert distance(x, 3.0 * x @ turn) == pytest.approx(0, abs=1e-9)
        assert distance(x, x[:, torch.randperm(6)]) == pytest.approx(0, abs=1e-9)
        assert distance(x, torch.tensor(draw(9, 50, 6))) > 0.3


def test_constant_activations():
    x, constant = torch.tensor(draw(10, 20, 3)), torch.zeros(20, 4)
    for distance in (svcca_distance, cka_distance):
        assert distance(x, constant) == distance(constant + 2, x) == 1.0
        assert distance(constant, constant[:, :2]) == 0.0


def test_other_images_are_refused():
    with pytest.raises(UsageError, match="not of the same images"):
        svcca_distance(torch.zeros(4, 2), torch.zeros(5, 2))
    with pytest.raises(UsageError, match="not of the same images"):
        cka_distance(torch.zeros(4, 2, 3, 3), torch.zeros(4, 2, 2, 2))
