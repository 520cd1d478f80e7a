"""The leaderboard's numbers against plain Python, and who is ranked."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from sparsebench.report.table import frame, leaderboard, overall, select
from sparsebench.stats import mean_interval


def tables(records, board):
    cells, left_out = select(frame(records), board)
    rows = leaderboard(cells, len(board["seeds"]))
    return cells, rows, overall(cells, rows, board), left_out


def test_one_row_a_record(build, build_all, small_board):
    records = build_all(small_board)
    cells = frame(records)
    assert len(cells) == len(records) == 2 * 3 * (1 + 3 * 2)
    assert cells["top1"].tolist() == [record.data["metrics"]["top1"] for record in records]
    assert cells["chance"].eq(0.1).all()
    failed = frame([build("t", "m", 0.5, 0, None)]).iloc[0]
    assert not failed["ok"]
    assert np.isnan(failed["top1"])


def test_means_intervals_and_ranks_are_those_of_plain_python(build_all, small_board):
    records = build_all(small_board)
    _, rows, _, _ = tables(records, small_board)
    assert len(rows) == 2 * (1 + 3 * 2)
    for row in rows.itertuples():
        values = [
            r.data["metrics"]["top1"]
            for r in records
            if (r.cell["task"], r.cell["method"], r.cell["sparsity"]) == (row.task, row.method, row.sparsity)
        ]
        assert row.top1 == pytest.approx(statistics.mean(values))
        assert row.top1_half == pytest.approx(mean_interval(values).half)
        rivals = rows[(rows["task"] == row.task) & (rows["sparsity"] == row.sparsity)]
        if row.method != "dense":
            assert row.rank == 1 + (rivals["top1"] > row.top1).sum()


def test_order_is_the_boards_and_best_first(build_all, small_board):
    records = build_all(small_board)[::-1]
    _, rows, summary, _ = tables(records, small_board)
    assert list(rows["task"].unique()) == small_board["tasks"]
    for _, group in rows[rows["method"] != "dense"].groupby(["task", "sparsity"]):
        assert group["rank"].is_monotonic_increasing
    assert summary["method"].iloc[-1] == "random@imp"


def test_marks_follow_the_paired_difference(build, small_board):
    """b is below a by 0.001 in every seed but for noise; c is equal to a on average."""
    board = {**small_board, "tasks": ["t"], "methods": ["a", "b", "c"], "sparsities": [0.5]}
    luck = {0: 0.80, 1: 0.85, 2: 0.90}
    wobble = {0: 0.010, 1: -0.012, 2: 0.001}
    records = [build("t", "a", 0.5, s, luck[s]) for s in luck]
    records += [build("t", "b", 0.5, s, luck[s] - 0.01 - wobble[s] / 100) for s in luck]
    records += [build("t", "c", 0.5, s, luck[s] + wobble[s]) for s in luck]
    _, rows, _, _ = tables(records, board)
    assert dict(zip(rows["method"], rows["mark"], strict=True)) == {"a": "best", "b": "", "c": "tie"}
    one_seed = {**board, "seeds": [0]}
    _, rows, _, _ = tables([r for r in records if r.cell["seed"] == 0], one_seed)
    assert sorted(rows["mark"]) == ["", "", "best"], "nothing is called a tie without an estimate of the noise"


def test_who_is_not_ranked(build, build_all, small_board):
    """A failed cell, a failed audit and a missing seed: shown, below the others, without a rank."""
    small_board = {**small_board, "methods": [*small_board["methods"], "a@x", "b@x", "c@x"]}
    records = build_all(small_board)
    bad_audit = [{"rule": 2, "name": "zeros", "passed": False, "detail": ""}]

    def swap(method, seed, new):
        place = next(
            i for i, r in enumerate(records)
            if r.cell == {"task": "digits-mlp", "method": method, "sparsity": 0.9, "seed": seed}
        )  # fmt: skip
        records[place : place + 1] = new

    swap("a@x", 0, [build("digits-mlp", "a@x", 0.9, 0, None)])
    swap("b@x", 1, [build("digits-mlp", "b@x", 0.9, 1, 0.999, audit=bad_audit)])
    swap("c@x", 2, [])
    _, rows, summary, _ = tables(records, small_board)
    here = rows[(rows["task"] == "digits-mlp") & (rows["sparsity"] == 0.9)]
    states = dict(zip(here["method"], here["state"], strict=True))
    assert states == {
        "a@x": "failed", "b@x": "audit", "c@x": "incomplete",
        "magnitude@imp": "ranked", "lamp@imp": "ranked", "random@imp": "ranked",
    }  # fmt: skip
    assert here["rank"].tolist()[:3] == [1, 2, 3]
    assert here["rank"].isna().tolist()[3:] == [True] * 3
    assert summary["method"].tolist()[3:] == ["a@x", "b@x", "c@x"]
    assert summary["rank"].isna().tolist() == [False] * 3 + [True] * 3
    assert summary.set_index("method").loc["c@x", "cells"] == 11
    elsewhere = rows[(rows["task"] == "digits-resnet8") & (rows["sparsity"] == 0.9)]
    assert elsewhere["rank"].notna().all()


def test_collapsed_cells_stay_in_the_mean(build, small_board):
    board = {**small_board, "tasks": ["t"], "methods": ["a"], "sparsities": [0.5]}
    _, rows, summary, _ = tables([build("t", "a", 0.5, s, v) for s, v in enumerate([0.9, 0.8, 0.1])], board)
    assert rows["top1"].item() == pytest.approx(0.6)
    assert rows["collapsed"].item() == summary["collapsed"].item() == 1


def test_drop_and_epochs_are_against_the_dense_network_of_the_seed(build, small_board):
    board = {**small_board, "tasks": ["t"], "methods": ["a"], "sparsities": [0.5]}
    records = [build("t", "dense", 0.0, s, 0.9 + s / 100) for s in range(3)]
    records += [build("t", "a", 0.5, s, 0.89 + s / 100) for s in range(3)]
    summary = tables(records, board)[2].iloc[0]
    assert summary["drop"] == pytest.approx(0.01)
    assert summary["drop_half"] == pytest.approx(0.0, abs=1e-9)
    assert summary["epochs_ratio"] == 2.0


def test_what_other_rules_made_is_left_out(build, build_all, small_board):
    strangers = [
        build("digits-mlp", "lamp@imp", 0.5, 0, 0.1, board_version=2),
        build("digits-mlp", "lamp@imp", 0.77, 0, 0.1),
        build("digits-mlp", "lamp@imp", 0.5, 9, 0.1),
        build("other-task", "lamp@imp", 0.5, 0, 0.1),
    ]
    records = build_all(small_board)
    cells, _, _, left_out = tables(records + strangers, small_board)
    assert (len(cells), left_out) == (len(records), 4)
    newer = [build("digits-mlp", "lamp@imp", 0.5, s, 0.5, protocol=2) for s in range(3)]
    cells, _, _, left_out = tables(records + newer, small_board)
    assert (len(cells), left_out) == (3, len(records)), "protocols never meet in one mean"
