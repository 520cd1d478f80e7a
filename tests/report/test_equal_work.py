"""Ranks at equal multiply-accumulates, where equal sparsity says the opposite; and the contest behind every rank."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sparsebench.report import standing_of
from sparsebench.report.contest import contest
from sparsebench.report.equal_work import accuracies, ranks_at_levels
from sparsebench.report.ranking_cells import levels_grid, seeds_grid, seeds_text
from sparsebench.report.table import frame
from sparsebench.stats import BLOCK, clusters_needed


def cells_of(curves: dict[str, tuple[list[float], list[float]]], seeds: int = 6) -> pd.DataFrame:
    """Cells of methods given as (speed-ups, accuracies), the same with every seed, on one task."""
    rows = [
        ("t", seed, method, speedup, top1)
        for method, points in curves.items()
        for seed in range(seeds)
        for speedup, top1 in zip(*points, strict=True)
    ]
    return pd.DataFrame(rows, columns=["task", "seed", "method", "speedup", "top1"])


def test_a_method_that_saves_more_work_is_first_at_equal_work(build, small_board):
    """ "slow" is a point better at every sparsity, but needs twice the multiply-accumulates."""
    board = {**small_board, "tasks": ["t"], "methods": ["slow", "fast"], "sparsities": [0.5, 0.75, 0.875]}
    board["seeds"] = list(range(6))
    records = [build("t", "dense", 0.0, seed, 0.95) for seed in board["seeds"]]
    for method, work, lead in (("slow", 1.0, 0.01), ("fast", 2.0, 0.0)):
        for i, sparsity in enumerate(board["sparsities"]):
            for seed in board["seeds"]:
                speedup = work * 2 ** (i + 1)
                flops = {"dense": 1000, "sparse": 1000 / speedup, "speedup": speedup}
                records.append(build("t", method, sparsity, seed, 0.9 - 0.05 * i + lead, flops=flops))
    standing = standing_of(frame(records), board)
    summary = standing.summary.set_index("method")
    assert summary["rank"].to_dict() == {"slow": 1, "fast": 2}
    assert summary["flops_rank"].to_dict() == {"slow": 2, "fast": 1}
    assert summary["flops_mark"].to_dict() == {"slow": "", "fast": "best"}
    assert standing.levels.groupby("level")["method"].first().to_dict() == {4.0: "fast", 8.0: "fast"}
    assert standing.levels.set_index(["level", "method"])["top1"][(8.0, "slow")] == pytest.approx(0.81)
    assert [row[-1].text for row in levels_grid(standing).rows] == ["2/2", "2/2"]


def test_a_level_is_used_where_half_of_the_methods_cover_it_and_ranks_only_those():
    cells = cells_of({
        "a": ([2, 16], [0.9, 0.6]), "b": ([2, 16], [0.8, 0.5]), "c": ([2, 4], [0.7, 0.6]), "d": ([64], [0.3]),
    })  # fmt: skip
    scores = accuracies(cells)
    assert sorted(scores.index.get_level_values("sparsity").unique()) == [2, 4, 8, 16]
    overall, levels = ranks_at_levels(scores)
    assert levels.groupby("level")["method"].apply(list).to_dict() == {
        2.0: ["a", "b", "c"], 4.0: ["a", "b", "c"], 8.0: ["a", "b"], 16.0: ["a", "b"],
    }  # fmt: skip
    assert overall["rank"].dropna().to_dict() == {"a": 1, "b": 2}, "c and d miss levels that are hard"
    assert overall["covered"].to_dict() == {"a": "4/4", "b": "4/4", "c": "2/4", "d": "0/4"}


def test_a_level_must_be_covered_with_every_seed():
    cells = cells_of({"a": ([2, 16], [0.9, 0.6]), "b": ([2, 16], [0.8, 0.5])})
    short = (cells["method"] == "b") & (cells["seed"] == 3) & (cells["speedup"] == 16)
    cells.loc[short, "speedup"] = 9.0
    assert sorted(accuracies(cells).index.get_level_values("sparsity").unique()) == [2, 4, 8]


def test_nothing_in_common_ranks_nothing(build, small_board):
    overall, levels = ranks_at_levels(accuracies(cells_of({"a": ([2], [0.9]), "b": ([64], [0.8])})))
    assert overall.empty
    assert levels.empty
    assert standing_of(frame([build("digits-mlp", "a@x", 0.5, 0, 0.9)]), small_board).levels.empty


def ranks_of(**columns) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    index = pd.MultiIndex.from_tuples([("t", 0.5, seed) for seed in range(n)], names=BLOCK)
    return pd.DataFrame(columns, index=index, dtype=float)


def test_a_contest_by_eye():
    table = contest(ranks_of(a=[1] * 8, b=[2, 2, 2, 3, 2, 3, 2, 2], c=[3, 3, 3, 2, 3, 2, 3, 3]))
    assert table["rank"].tolist() == [1, 2.25, 2.75]
    assert table["gap"].tolist() == [0, 1.25, 1.75]
    assert table["p_holm"].tolist()[1:] == [2 * 2 / 2**8] * 2
    assert table["mark"].tolist() == ["best", "", ""]
    gaps = np.array([0.0, 0, 0, 1, 0, 1, 0, 0]) + 1
    assert table["seeds_first"].tolist()[1] == clusters_needed(gaps.mean(), gaps.std(ddof=1))
    between = np.array([1, 1, 1, -1, 1, -1, 1, 1])
    assert table["seeds_next"].tolist()[2] == clusters_needed(between.mean(), between.std(ddof=1))


def test_equal_ranks_are_first_together_and_a_gap_within_noise_is_a_tie():
    table = contest(ranks_of(a=[1.5] * 8, b=[1.5] * 8, c=[3] * 8))
    assert table["mark"].tolist() == ["best", "best", ""]
    assert contest(ranks_of(a=[1, 1, 1, 2, 1, 1, 2, 1], b=[2, 2, 2, 1, 2, 2, 1, 2]))["mark"].tolist() == ["best", "tie"]
    assert contest(ranks_of(a=[1] * 5, b=[2] * 5))["mark"].tolist() == ["best", "few"]


def test_seeds_needed_are_per_task():
    one = ranks_of(a=[1] * 6, b=[2, 3, 2, 1, 2, 3])
    two = pd.concat([one, one.rename(index={"t": "u"}, level="task")])
    clusters = contest(one)["seeds_first"].iloc[1]
    assert contest(two)["seeds_first"].iloc[1] <= np.ceil(clusters / 2)


def test_the_table_of_seeds_prints_what_is_known(build_all, small_board):
    standing = standing_of(frame(build_all(small_board)), small_board)
    rows = [[cell.text for cell in row] for row in seeds_grid(standing.summary).rows]
    assert [row[0] for row in rows] == standing.summary["method"].tolist()
    assert rows[0][2:] == ["–"] * 4
    assert all(text.isdigit() or text in ("–", "> 100") for row in rows for text in row[4:])
    assert seeds_text(101) == "> 100"
