"""Pareto fronts: what nothing else beats in one respect without losing in the other."""

from __future__ import annotations

import numpy as np


def front(gain: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """True where no other point has at least this gain for at most this cost and is better in one of the two.

    Equal points are on the front together; a point with NaN is on none.

    >>> front(np.array([0.9, 0.8, 0.95, 0.9]), np.array([2.0, 1.0, 4.0, 3.0])).tolist()
    [True, True, True, False]
    """
    gain, cost = np.asarray(gain, dtype=float), np.asarray(cost, dtype=float)
    there = np.flatnonzero(~(np.isnan(gain) | np.isnan(cost)))
    best = np.zeros(gain.shape, dtype=bool)
    order = there[np.lexsort((-gain[there], cost[there]))]
    if not len(order):
        return best
    # Cheapest first: a point is beaten by what gains more among the cheaper, or gains as much and costs less.
    highest, price = -np.inf, np.nan
    for i in order.tolist():
        if gain[i] > highest:
            highest, price = gain[i], cost[i]
            best[i] = True
        elif gain[i] == highest and cost[i] == price:
            best[i] = True
    return best
