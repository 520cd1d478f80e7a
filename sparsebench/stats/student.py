"""Quantiles of Student's t, without the tenth of a second that importing scipy takes.

For whole degrees of freedom the distribution function is a finite sum of elementary functions (Abramowitz and Stegun,
26.7.3 and 26.7.4), and its inverse is found by Newton's method. The tests hold both against scipy.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

_LARGE = 200
"""Degrees of freedom from where four terms around the normal quantile (26.7.5) are exact to nine digits."""


def t_cdf(x: float, df: int) -> float:
    """P(T <= x) of Student's t with ``df`` = 1, 2, ... degrees of freedom.

    >>> t_cdf(0.0, 5), round(t_cdf(1.0, 1), 6)
    (0.5, 0.75)
    """
    angle = math.atan(x / math.sqrt(df))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = df % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(1 + odd, df, 2):
        total += term
        term *= cosine * cosine * k / (k + 1)
    if odd:
        return 0.5 + (angle + sine * total) / math.pi
    return 0.5 + sine * total / 2


def t_quantile(p: float, df: int) -> float:
    """The ``p`` quantile, 0 < p < 1, of Student's t with ``df`` = 1, 2, ... degrees of freedom.

    >>> round(t_quantile(0.975, 2), 3), round(t_quantile(0.975, 11), 3)
    (4.303, 2.201)
    """
    if not 0 < p < 1 or df < 1:
        raise ValueError(f"a quantile of Student's t needs 0 < p < 1 and df >= 1, not p = {p}, df = {df}")
    return math.copysign(_upper(max(p, 1 - p), int(df)), p - 0.5)


@cache
def _upper(p: float, df: int) -> float:
    if df == 1:
        return math.tan(math.pi * (p - 0.5))
    if df > _LARGE or p == 0.5:
        return _nearly_normal(p, df)
    # Newton's method on a concave function: from the left it climbs and never passes the root.
    x = min(_nearly_normal(p, df), math.sqrt(2) * (2 * p - 1) / math.sqrt(4 * p * (1 - p)) if df == 2 else math.inf)
    for _ in range(60):
        step = (p - t_cdf(x, df)) / _density(x, df)
        x += step
        if abs(step) <= 1e-15 * x:
            break
    return x


def _density(x: float, df: int) -> float:
    logarithm = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - (df + 1) / 2 * math.log1p(x * x / df)
    return math.exp(logarithm) / math.sqrt(df * math.pi)


def _nearly_normal(p: float, df: int) -> float:
    z = NormalDist().inv_cdf(p)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / df**power for power, term in enumerate(terms, start=1))


def normal_cdf(x: float) -> float:
    """P(Z <= x) of the standard normal distribution."""
    return 0.5 * math.erfc(-x / math.sqrt(2))
