"""Bias induced by pruning: how unevenly the classes pay (CEV and SDE), against the dense parent network.

    dP_i = (FPR_i - FPR_i^dense) / FPR_i^dense       dN_i = (FNR_i - FNR_i^dense) / FNR_i^dense
    CEV  = 1/K sum_i || (dP_i, dN_i) - mean_j (dP_j, dN_j) ||^2
    SDE  = 1/K sum_i | dP_i - dN_i |

Source: Blakeney et al., arXiv:2106.07849 and arXiv:2110.04397, in the convention of their 2022 code (the
2021 code reports ``10^4 CEV / 2`` and ``100 SDE / sqrt(2)``). Both ignore a uniform degradation: they never
replace accuracy. A dense rate of 0 leaves them undefined; the smoothed versions (``cev_s1``, ``sde_s1``)
replace each of the four rates by ``(count + 1) / (n + 2)`` and always exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sparsebench.errors import UsageError

Counts = Mapping[str, Sequence[int]]
"""``n``, ``tp``, ``fp``, ``fn`` of every class, as in a record's ``per_class``."""


def bias(counts: Counts, dense: Counts) -> dict[str, float | None]:
    """CEV and SDE: ``cev``, ``sde`` (None if undefined), ``cev_s1``, ``sde_s1``.

    Raises:
        UsageError: the two were not counted on the same samples.

    >>> dense = {"n": [10, 10], "tp": [9, 8], "fp": [2, 1], "fn": [1, 2]}
    >>> pruned = {"n": [10, 10], "tp": [8, 8], "fp": [2, 2], "fn": [2, 2]}
    >>> {k: round(v, 3) for k, v in bias(pruned, dense).items() if not k.endswith("s1")}
    {'cev': 0.5, 'sde': 1.0}
    """
    if list(counts["n"]) != list(dense["n"]):
        raise UsageError("CEV and SDE compare two networks on the same samples: the class counts n differ")
    found = {}
    for suffix, extra in (("", 0), ("_s1", 1)):
        before, after = _rates(dense, extra), _rates(counts, extra)
        with np.errstate(divide="ignore", invalid="ignore"):
            change = (after - before) / before
        defined = bool(np.isfinite(change).all())
        spread = ((change - change.mean(1, keepdims=True)) ** 2).sum(0).mean() if defined else None
        imbalance = np.abs(change[0] - change[1]).mean() if defined else None
        found["cev" + suffix] = None if spread is None else float(spread)
        found["sde" + suffix] = None if imbalance is None else float(imbalance)
    return found


def _rates(counts: Counts, extra: int) -> np.ndarray:
    """False-positive and false-negative rates [2, K], with ``extra`` added to hits and misses alike."""
    n = np.asarray(counts["n"], dtype=float)
    errors = np.stack([counts["fp"], counts["fn"]]).astype(float)
    chances = np.stack([n.sum() - n, n])
    with np.errstate(divide="ignore", invalid="ignore"):
        return (errors + extra) / (chances + 2 * extra)
