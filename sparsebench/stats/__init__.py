"""Statistics of the leaderboard: intervals, paired differences, ranks, tests, power, Pareto fronts; no torch, no scipy.

Seeds are few (three to five), so means carry Student intervals and nothing is compared without pairing: two methods
that start from the same dense network share its luck, and the difference removes it. Definitions: docs/statistics.md.
"""

from __future__ import annotations

from sparsebench.stats.bootstrap import cluster_bootstrap
from sparsebench.stats.intervals import Interval, mean_interval, paired_difference
from sparsebench.stats.levels import at_levels
from sparsebench.stats.nemenyi import critical_difference, not_told_apart
from sparsebench.stats.pareto import front
from sparsebench.stats.power import clusters_needed
from sparsebench.stats.ranks import (
    BLOCK,
    CLUSTER,
    FEWEST_CLUSTERS,
    average_ranks,
    block_ranks,
    cluster_means,
    clustered_difference,
    mean_ranks,
    rank_scores,
    spearman,
)
from sparsebench.stats.significance import ALPHA, fewest_clusters, holm, sign_flip
from sparsebench.stats.student import t_quantile

__all__ = [
    "ALPHA",
    "BLOCK",
    "CLUSTER",
    "FEWEST_CLUSTERS",
    "Interval",
    "at_levels",
    "average_ranks",
    "block_ranks",
    "cluster_bootstrap",
    "cluster_means",
    "clustered_difference",
    "clusters_needed",
    "critical_difference",
    "fewest_clusters",
    "front",
    "holm",
    "mean_interval",
    "mean_ranks",
    "not_told_apart",
    "paired_difference",
    "rank_scores",
    "sign_flip",
    "spearman",
    "t_quantile",
]
