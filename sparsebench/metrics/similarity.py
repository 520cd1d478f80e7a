"""Similarity of two networks' representations: SVCCA and linear CKA distances between their activations.

    X' = X V_k      V_k: right singular vectors of X [N, C], the fewest whose singular values sum to 99 %
    SVCCA = 1 - mean of the canonical correlations of X' and Y', min(k_X, k_Y) of them
    CKA   = 1 - ||Y^t X||^2 / (||X^t X|| ||Y^t Y||)                    X, Y centred

Both are 0 for representations that are turned and scaled images of each other and need no equal number of units; of
other linear images SVCCA sees what the reduction leaves. Conventions of SVCCA are those of the library that the release
of Blakeney et al. (2021, arXiv:2106.07849) calls: singular values, not their squares, of activations that are not
centred, centred after the reduction, the direction that reaches the share left out; maps position by position, the
distances averaged. Sources: Raghu et al. 2017, arXiv:1706.05806; Kornblith et al. 2019, arXiv:1905.00414.
"""

from __future__ import annotations

from statistics import fmean

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from sparsebench.errors import UsageError

ACCEPTED = 0.99
"""Share of the sum of singular values that the reduction keeps."""
LARGEST_MAP = 16
"""Maps larger than this are averaged down to it, as in the release."""


def svcca_distance(x: Tensor, y: Tensor) -> float:
    """SVCCA distance in [0, 1] of activations [N, C] and [N, D], or of maps [N, C, H, W] and [N, D, H, W].

    Where one of two is constant over the images they have nothing in common (1); where both are, they are equal (0).

    Raises:
        UsageError: other images, or maps of another size.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5], [2.0, 2.0]])
    >>> turned = x @ torch.tensor([[0.0, 2.0], [-2.0, 0.0]])
    >>> abs(round(svcca_distance(x, turned), 4)), svcca_distance(x, torch.ones(4, 3))
    (0.0, 1.0)
    """
    return fmean(_svcca(a, b) for a, b in zip(*_by_position(x, y), strict=True))


def cka_distance(x: Tensor, y: Tensor) -> float:
    """Linear CKA distance in [0, 1]; shapes and special cases as in ``svcca_distance``.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5], [2.0, 2.0]])
    >>> round(cka_distance(x, 3 * x.flip(1)), 4)
    0.0
    """
    return fmean(_cka(a, b) for a, b in zip(*_by_position(x, y), strict=True))


def _svcca(x: Tensor, y: Tensor) -> float:
    bases = [_basis(_reduced(a)) for a in (x, y)]
    if 0 in (bases[0].shape[1], bases[1].shape[1]):
        return _constant(bases[0].shape[1], bases[1].shape[1])
    correlations = torch.linalg.svdvals(bases[0].t() @ bases[1]).clamp_max(1.0)
    return max(0.0, 1 - float(correlations.mean()))


def _cka(x: Tensor, y: Tensor) -> float:
    x, y = (a - a.mean(0) for a in (x, y))
    own = [float((a.t() @ a).norm()) for a in (x, y)]
    if 0 in own:
        return _constant(*own)
    return max(0.0, 1 - float((y.t() @ x).square().sum()) / (own[0] * own[1]))


def _constant(x: float, y: float) -> float:
    return 0.0 if x == y else 1.0


def _reduced(x: Tensor) -> Tensor:
    """The leading singular directions of x, centred."""
    _, values, right = torch.linalg.svd(x, full_matrices=False)
    kept = int((values.cumsum(0) < ACCEPTED * values.sum()).sum())
    # The release keeps those that stay below the share; a single large direction must not leave none.
    reduced = x @ right[: max(1, kept)].t()
    return reduced - reduced.mean(0)


def _basis(x: Tensor) -> Tensor:
    """An orthonormal basis [N, k] of the columns of x, without directions that are rounding."""
    left, values, _ = torch.linalg.svd(x, full_matrices=False)
    return left[:, values > 1e-9 * max(float(values.max()), 1e-12)]


def _by_position(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float64 [positions, N, C]."""
    places = [a.shape[1:2] if a.dim() == 3 else a.shape[2:] for a in (x, y)]
    if x.dim() != y.dim() or len(x) != len(y) or places[0] != places[1]:
        raise UsageError(f"activations {list(x.shape)} and {list(y.shape)} are not of the same images and positions")
    return tuple(_positions(a.double()) for a in (x, y))


def _positions(x: Tensor) -> Tensor:
    if x.dim() == 4:
        if max(x.shape[2:]) > LARGEST_MAP:
            x = adaptive_avg_pool2d(x, LARGEST_MAP)
        return x.flatten(2).permute(2, 0, 1)
    # Tokens of a transformer [N, T, C] are positions too.
    return x.transpose(0, 1) if x.dim() == 3 else x[None]
