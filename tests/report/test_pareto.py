"""Pareto fronts in rows and picture, and the critical-difference diagram."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sparsebench.report import critical, pareto_figure, standing_of
from sparsebench.report.table import frame
from sparsebench.stats import BLOCK


@pytest.fixture
def standing(build, small_board):
    """Two tasks; "a" is the most accurate, "b" as cheap as it gets, "c" neither."""
    board = {**small_board, "methods": ["a", "b", "c"], "sparsities": [0.5, 0.9]}
    records = []
    for task in board["tasks"]:
        for seed in board["seeds"]:
            records.append(build(task, "dense", 0.0, seed, 0.95))
            for method, lead, cost in (("a", 0.02, 4e9), ("b", 0.0, 1e9), ("c", -0.02, 4e9)):
                for sparsity in board["sparsities"]:
                    record = build(task, method, sparsity, seed, 0.9 - 0.2 * (sparsity > 0.5) + lead)
                    record.data["cost"]["train_flops"] = cost
                    records.append(record)
    return standing_of(frame(records), board)


def test_fronts_by_eye(standing):
    rows = standing.rows[standing.rows["task"] == "digits-mlp"].set_index(["method", "sparsity"])
    on = {kind: set(rows.index[rows[f"front_{kind}"]]) for kind in ("sparsity", "speedup", "cost")}
    assert on["sparsity"] == on["speedup"] == {("a", 0.5), ("a", 0.9)}
    assert on["cost"] == {("a", 0.5), ("b", 0.5), ("a", 0.9), ("b", 0.9)}, "at each sparsity"
    assert standing.summary.set_index("method")["front_cost"].to_dict() == {"a": 4, "b": 4, "c": 0}


def test_points_are_means_over_the_tasks(standing):
    points = standing.points.set_index(["method", "sparsity"])
    assert points.loc[("a", 0.9), "drop"] == pytest.approx(0.95 - 0.72)
    assert points.loc[("a", 0.9), "cost"] == pytest.approx(4.0)
    assert points.loc[("b", 0.9), "speedup"] == pytest.approx(10.0)
    assert points["front_cost"].to_dict()[("b", 0.5)]


def test_unranked_rows_are_on_no_front(build, build_all, small_board):
    bad = [{"rule": 2, "name": "zeros", "passed": False, "detail": ""}]
    records = [r for r in build_all(small_board) if r.cell["method"] != "lamp@imp"]
    records += [
        build(t, "lamp@imp", s, seed, 0.999, audit=bad)
        for t in small_board["tasks"] for s in small_board["sparsities"] for seed in small_board["seeds"]
    ]  # fmt: skip
    rows = standing_of(frame(records), small_board).rows
    assert not rows.loc[rows["method"] == "lamp@imp", ["front_sparsity", "front_speedup", "front_cost"]].any(axis=None)
    assert rows.loc[rows["method"] == "magnitude@imp", "front_sparsity"].any()


def test_what_is_drawn_are_the_points_and_their_fronts(standing, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(pareto_figure, "save", lambda figure, stem: kept.append(figure) or [stem])
    pareto_figure.pareto_figure(standing.points, standing.rows, standing.board, tmp_path / "pareto")
    axes = kept[0].axes[1]
    dots = sorted(x for line in axes.lines if line.get_linestyle() == "None" for x in line.get_xdata())
    assert np.allclose(dots, sorted(standing.points["speedup"]))
    stairs = next(line for line in axes.lines if line.get_drawstyle().startswith("steps"))
    front = standing.points[standing.points["front_speedup"]]
    assert sorted(stairs.get_xdata()) == pytest.approx(sorted(front["speedup"]))
    labels = [text.get_text() for text in kept[0].legends[0].get_texts()]
    assert labels == ["a", "b", "1 more", "Pareto front", "dense"]


def test_nothing_to_compare_draws_no_front(build, small_board, tmp_path):
    standing = standing_of(frame([build("digits-mlp", "lamp@imp", 0.5, 0, None)]), small_board)
    assert pareto_figure.pareto_figure(standing.points, standing.rows, small_board, tmp_path / "p") == []
    assert critical.critical_figure(standing.ranks, tmp_path / "cd") == []


def ranks(methods: int, clusters: int, sparsities: int = 2) -> pd.DataFrame:
    """Method 0 is always first, the others are alike."""
    index = pd.MultiIndex.from_product([["t"], range(sparsities), range(clusters)], names=BLOCK)
    scores = np.random.default_rng(0).normal(size=(len(index), methods))
    scores[:, 0] = 9
    return pd.DataFrame(scores, index=index, columns=[f"m{i}" for i in range(methods)]).rank(axis=1, ascending=False)


def test_the_diagram_joins_what_the_test_does_not_tell_apart(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(critical, "save", lambda figure, stem: kept.append(figure) or [stem])
    table = ranks(4, 15)
    critical.critical_figure(table, tmp_path / "cd")
    texts = " ".join(text.get_text() for text in kept[0].axes[0].texts)
    means = table.groupby(level=["task", "seed"]).mean().rank(axis=1).mean()
    assert all(f"{name}  ({means[name]:.2f})" in texts or f"({means[name]:.2f})  {name}" in texts for name in table)
    bars = [line.get_xdata() for line in kept[0].axes[0].lines if line.get_linewidth() > 2]
    assert len(bars) == 1
    assert list(bars[0]) == pytest.approx([means.drop("m0").min(), means.max()]), "m0 is apart"
    assert "15 runs (task, seed), 4 methods" in kept[0].axes[0].get_title()


def test_few_runs_or_methods_have_no_diagram(tmp_path):
    assert critical.critical_figure(ranks(4, 5), tmp_path / "cd") == []
    assert critical.critical_figure(ranks(2, 15), tmp_path / "cd") == []
    assert list(tmp_path.iterdir()) == []


def test_a_diagram_of_many_methods_shows_the_best(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(critical, "save", lambda figure, stem: kept.append(figure) or [stem])
    critical.critical_figure(ranks(25, 6), tmp_path / "cd")
    assert len(kept[0].axes[0].texts) == critical.MOST
    assert "best 20 of 25 methods" in kept[0].axes[0].get_title()


def test_bars_that_overlap_are_on_lines_of_their_own():
    assert critical._levels([(0, 2), (1, 4), (3, 5), (5, 6)]) == [0, 1, 0, 1]


def test_the_same_ranks_give_the_same_bytes(tmp_path):
    first = [path.read_bytes() for path in critical.critical_figure(ranks(3, 6), tmp_path / "cd")]
    assert [path.read_bytes() for path in critical.critical_figure(ranks(3, 6), tmp_path / "cd")] == first
