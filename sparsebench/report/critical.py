"""The critical-difference diagram (Demsar, 2006): average ranks on a line, bars over what is not told apart."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sparsebench.report.figure import RC, save
from sparsebench.stats import FEWEST_CLUSTERS, cluster_means

MOST = 20
"""Most methods in a diagram that can be read; of more, the best are shown, with the test of all."""


def critical_figure(ranks: pd.DataFrame, stem: Path) -> list[Path]:
    """Friedman ranks with Nemenyi's test of all pairs at 5 %, from ranks in blocks (task, sparsity, seed).

    Blocks of one network are not independent, so a block of the test is a run (task, seed): its value is the mean of
    the method's ranks over the sparsities. No diagram for fewer than three methods or ``FEWEST_CLUSTERS`` runs.
    """
    values = cluster_means(ranks)
    if values.shape[1] < 3 or len(values) < FEWEST_CLUSTERS:
        return []
    import matplotlib
    import scikit_posthocs
    from matplotlib.figure import Figure

    average = values.rank(axis="columns").mean().sort_values(kind="stable")
    p = scikit_posthocs.posthoc_nemenyi_friedman(values.to_numpy())
    p.index = p.columns = values.columns
    shown = average.iloc[:MOST]
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(9.6, 1.5 + 0.13 * len(shown)))
        axes = figure.add_axes([0.25, 0.04, 0.5, 0.80])
        scikit_posthocs.critical_difference_diagram(
            shown, p.loc[shown.index, shown.index], ax=axes, alpha=0.05,
            label_fmt_left="{label}  ({rank:.2f})", label_fmt_right="({rank:.2f})  {label}",
            label_props={"fontsize": 8.5},
            marker_props={"s": 16, "color": "#332288"},
            elbow_props={"color": "#555555", "lw": 0.8},
            crossbar_props={"color": "#CC6677", "linewidth": 2.6},
            text_h_margin=0.02 * (shown.iloc[-1] - shown.iloc[0]),
        )  # fmt: skip
        axes.tick_params(labelsize=8)
        of = (
            f"the best {len(shown)} of {len(average)} methods" if len(shown) < len(average) else f"{len(shown)} methods"
        )
        axes.set_title(
            f"average rank in {len(values)} runs (task, seed), {of}", fontsize=9, fontweight="normal", pad=14
        )
        return save(figure, stem)
