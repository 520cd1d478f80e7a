"""Budget classes against costs one can follow by eye; ranks within them, with ties shown as ties."""

from __future__ import annotations

import numpy as np
import pytest

from sparsebench.report import standing_of
from sparsebench.report.budgets import costs
from sparsebench.report.ranking_cells import winners_grid
from sparsebench.report.table import frame, select

LADDER = [{"name": "as dense", "epochs": 1.0, "flops": 1.0}, {"name": "double", "epochs": 2.0, "flops": 2.5}]


@pytest.fixture
def priced(build, small_board):
    """Cells of method "m" on a dense training of 12 epochs and 1e9 FLOPs, and their board."""

    def make(*spent: tuple[float, float | None], dense: bool = True):
        board = {**small_board, "tasks": ["t"], "methods": ["m"], "sparsities": [0.9], "budgets": LADDER}
        board["seeds"] = list(range(len(spent)))

        def one(method, sparsity, seed, epochs, flops):
            record = build("t", method, sparsity, seed, 0.9)
            record.data["cost"].update(epochs=epochs, train_flops=flops)
            return record

        records = [one("m", 0.9, seed, *cost) for seed, cost in enumerate(spent)]
        records += [one("dense", 0.0, seed, 12.0, 1e9) for seed in board["seeds"] if dense]
        return select(frame(records), board)[0], board

    return make


@pytest.mark.parametrize(
    ("spent", "name"),
    [
        ([(12, 1e9)], "as dense"),
        ([(12.5, 1.04e9)], "as dense"),  # half an epoch is what rounding adds
        ([(13, 1.05e9)], "double"),
        ([(12, 1.06e9)], "double"),  # more work in as many epochs
        ([(24, 2.5e9)], "double"),
        ([(24, 2.6e9)], "more"),
        ([(25, 2.0e9)], "more"),
        ([(6, 0.2e9)], "as dense"),
        ([(12, 1e9), (12, 1e9), (25, 2e9)], "more"),  # all its cells count
        ([(12, 1e9), (12, None)], "unknown"),
    ],
)
def test_the_first_class_whose_bounds_hold_for_every_cell(priced, spent, name):
    table = costs(*priced(*spent))
    assert table.loc["m", "budget"] == name
    if name != "unknown":
        assert table.loc["m", "epochs_most"] == pytest.approx(max(e for e, _ in spent) / 12)
        assert table.loc["m", "flops_most"] == pytest.approx(max(f for _, f in spent) / 1e9)


def test_without_a_dense_row_the_budget_is_unknown_and_not_ranked_in(priced):
    cells, board = priced((12, 1e9), (12, 1e9), dense=False)
    standing = standing_of(cells, board)
    row = standing.summary.iloc[0]
    assert (row["budget"], standing.budgets[0]["name"]) == ("unknown", "unknown")
    assert np.isnan(row["rank_in_budget"])
    assert winners_grid(standing).rows == []


def test_each_cell_is_held_against_the_dense_network_of_its_task_and_seed(priced):
    cells, board = priced((12, 1e9), (24, 2e9))
    cells.loc[(cells["method"] == "dense") & (cells["seed"] == 1), ["epochs", "train_flops"]] = [24.0, 2e9]
    assert costs(cells, board).loc["m", "budget"] == "as dense"


@pytest.fixture
def classed(build, small_board):
    """Two methods that spend as the dense network, two that spend twice as much; seven seeds."""
    scores = {"cheap": 0.80, "poor": 0.70, "rich@imp": 0.90, "same@imp": 0.90}
    board = {**small_board, "tasks": ["t"], "methods": list(scores), "sparsities": [0.9], "seeds": list(range(7))}
    board["budgets"] = LADDER
    records = [build("t", "dense", 0.0, seed, 0.95) for seed in board["seeds"]]
    for method, top1 in scores.items():
        for seed in board["seeds"]:
            record = build("t", method, 0.9, seed, top1 + 0.01 * (seed % 2) * (method == "same@imp"))
            record.data["cost"]["epochs"] = 24.0 if "@imp" in method else 12.0
            records.append(record)
    return standing_of(frame(records), board)


def test_methods_are_ranked_among_those_of_their_class(classed):
    summary = classed.summary.set_index("method")
    assert summary["budget"].to_dict() == {
        "cheap": "as dense",
        "poor": "as dense",
        "rich@imp": "double",
        "same@imp": "double",
    }
    assert summary.loc[["cheap", "poor"], "rank_in_budget"].tolist() == [1, 2]
    assert summary.loc["cheap", "rank"] == 3
    assert summary.loc[["cheap", "poor"], "mark_in_budget"].tolist() == ["best", ""]
    assert summary.loc[["same@imp", "rich@imp"], "mark_in_budget"].tolist() == ["best", "tie"]
    rows = classed.rows[classed.rows["method"] != "dense"].set_index("method")
    assert rows["rank_in_budget"].to_dict() == {"cheap": 1, "poor": 2, "same@imp": 1, "rich@imp": 2}


def test_the_first_thing_said_is_who_wins_within_each_budget(classed):
    grid = [[cell.text for cell in row] for row in winners_grid(classed).rows]
    assert grid == [
        ["as dense", "1 × dense", "2", "cheap", "1.00", "none"],
        ["double", "2 × epochs, 2.5 × FLOPs", "2", "same@imp", "1.29", "rich@imp"],
    ]
