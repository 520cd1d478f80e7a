"""Bias induced by pruning: how unevenly the classes pay (CEV and SDE), against the dense parent network.

    dP_i = (FPR_i - FPR_i^dense) / FPR_i^dense       dN_i = (FNR_i - FNR_i^dense) / FNR_i^dense
    CEV  = 1/K sum_i || (dP_i, dN_i) - mean_j (dP_j, dN_j) ||^2
    SDE  = 1/K sum_i | dP_i - dN_i |

Source: Blakeney et al., arXiv:2106.07849 and arXiv:2110.04397, in the convention of their 2022 code, "B" (the
2021 code, "A", reports ``10^4 CEV / 2`` and ``100 SDE / sqrt(2)``). Both ignore a uniform degradation: they never
replace accuracy. A dense rate of 0 leaves them undefined; the smoothed versions (``cev_s1``, ``sde_s1``)
replace each of the four rates by ``(count + 1) / (n + 2)`` and always exist.

``bias`` is of one network; ``pooled_bias`` of a setting with several trials, whose rates are averaged before they are
compared, as both releases do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

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
    found = {}
    for suffix, extra in (("", 0), ("_s1", 1)):
        cev, sde = _cev_sde(changes([counts], [dense], extra))
        found["cev" + suffix], found["sde" + suffix] = cev, sde
    return found


@dataclass(frozen=True)
class PooledBias:
    """CEV and SDE of a setting in the convention of the 2022 code ("B"); None where undefined."""

    cev: float | None
    sde: float | None
    change: np.ndarray
    """dP and dN of every class, [2, K]."""
    trials: int
    random_cev: float | None
    """Of uniform guessing against the same dense rates, by its expected rates; the 2022 demo takes one draw."""
    random_sde: float | None

    @property
    def convention_a(self) -> tuple[float | None, float | None]:
        """CEV and SDE as the 2021 code reports them, in per cent.

        >>> PooledBias(0.5, 1.0, np.zeros((2, 1)), 1, 2.0, 2.0).convention_a
        (2500.0, 70.71067811865474)
        """
        cev, sde = self.cev, self.sde
        return (None if cev is None else 1e4 * cev / 2), (None if sde is None else 100 * sde / sqrt(2))

    @property
    def normalised(self) -> tuple[float | None, float | None]:
        """CEV and SDE over those of uniform guessing: 1 is as uneven as guessing is."""
        pairs = ((self.cev, self.random_cev), (self.sde, self.random_sde))
        return tuple(value / random if value is not None and random else None for value, random in pairs)


def pooled_bias(trials: Sequence[Counts], dense: Sequence[Counts], smoothed: bool = False) -> PooledBias:
    """CEV and SDE of a setting from all its trials: rates are averaged over the trials, then compared.

    Args:
        trials: class counts of the pruned network of every trial.
        dense: of the dense networks, one a trial or one for all; their rates are averaged too.
        smoothed: each rate is ``(count + 1) / (n + 2)``, so that all is defined.

    Raises:
        UsageError: no trials, or other samples.
    """
    change = changes(trials, dense, int(smoothed))
    classes, extra = change.shape[1], int(smoothed)
    before = np.mean([_rates(one, extra) for one in dense], axis=0)
    guessing = np.repeat([[1 / classes], [1 - 1 / classes]], classes, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        random = _cev_sde((guessing - before) / before)
    return PooledBias(*_cev_sde(change), change, len(trials), *random)


def changes(trials: Sequence[Counts], dense: Sequence[Counts], extra: int = 0) -> np.ndarray:
    """Relative changes of the trials' mean rates, [2, K]: dP, then dN; not finite where a dense rate is 0.

    Args:
        extra: added to hits and misses alike (1: smoothed).

    Raises:
        UsageError: no trials, or they were not counted on the same samples.
    """
    if not trials or not dense:
        raise UsageError("CEV and SDE compare trials with dense networks: there are none")
    if any(list(one["n"]) != list(dense[0]["n"]) for one in (*trials, *dense)):
        raise UsageError("CEV and SDE compare two networks on the same samples: the class counts n differ")
    before, after = (np.mean([_rates(one, extra) for one in group], axis=0) for group in (dense, trials))
    with np.errstate(divide="ignore", invalid="ignore"):
        return (after - before) / before


def _cev_sde(change: np.ndarray) -> tuple[float | None, float | None]:
    if not np.isfinite(change).all():
        return None, None
    spread = ((change - change.mean(1, keepdims=True)) ** 2).sum(0).mean()
    return float(spread), float(np.abs(change[0] - change[1]).mean())


def _rates(counts: Counts, extra: int) -> np.ndarray:
    """False-positive and false-negative rates [2, K], with ``extra`` added to hits and misses alike."""
    n = np.asarray(counts["n"], dtype=float)
    errors = np.stack([counts["fp"], counts["fn"]]).astype(float)
    chances = np.stack([n.sum() - n, n])
    with np.errstate(divide="ignore", invalid="ignore"):
        return (errors + extra) / (chances + 2 * extra)
