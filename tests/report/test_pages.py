"""The page, the CSV, the terminal and the whole rendering."""

from __future__ import annotations

import io
import re

import pandas as pd
import pytest
from rich.console import Console

import sparsebench.report as report
from sparsebench.files import write_atomic
from sparsebench.report.table import frame, leaderboard, select
from sparsebench.report.terminal import show


@pytest.fixture
def tiny(build):
    """One task, one sparsity, values one can follow by eye."""
    board = {
        "name": "quick", "version": 1, "title": "Tiny board", "tasks": ["t"], "sparsities": [0.9375],
        "methods": ["magnitude@imp", "x|y@imp"], "seeds": [0, 1], "command": "sparsebench run tiny",
    }  # fmt: skip
    scores = {"dense": [0.98, 0.98], "magnitude@imp": [0.97, 0.97], "x|y@imp": [0.5, 0.52]}
    records = [
        build("t", method, 0.0 if method == "dense" else 0.9375, seed, value)
        for method, values in scores.items()
        for seed, value in enumerate(values)
    ]
    return records, board


def test_the_page_by_eye(tiny, results):
    records, board = tiny
    paths = report.render(results(records), board)
    assert [path.name for path in paths] == [
        "leaderboard.md", "leaderboard.csv", "ranking.csv",
        "curves.png", "curves.svg", "dead_neurons.png", "dead_neurons.svg", "pareto.png", "pareto.svg",
    ]  # fmt: skip
    page = paths[0].read_text()
    assert page.startswith("# Tiny board\n\nMade by `sparsebench run tiny` · board: quick v1, protocol 1 · records: 6 ")
    assert "hardware: 2 x CPU · commit: 0123456\n" in page
    assert "Top-1 (%) by sparsity; dense network: 98.0 ± 0.0." in page
    assert "| method          |         93.8 % |" in page
    assert "| `magnitude@imp` | **97.0 ± 0.0** |" in page
    assert "| `x\\|y@imp`      |    51.0 ± 12.7 |" in page
    assert "![Accuracy against sparsity](curves.png)" in page
    assert "≈:" not in page
    assert "?: so few runs that no test could tell" in page
    assert (
        "| **2x** |        2 × dense |       2 | `magnitude@imp` |         1.00 | not known: 2 runs, it takes 6 |"
        in page
    )
    assert "†:" not in page, "only signs that occur are explained"
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in page.splitlines() if line.startswith("|")]
    assert set(widths) == {3, 6, 7, 8, 11, 19}, "every row of a table has the columns of its header"


def test_same_records_same_bytes(tiny, results):
    records, board = tiny
    folder = results(records)
    first = {path: path.read_bytes() for path in report.render(folder, board)}
    assert {path: path.read_bytes() for path in report.render(folder, board)} == first
    assert not list(folder.glob(".*.tmp"))


def test_csv_has_one_plain_row_per_task_method_sparsity(build_all, results, small_board):
    _, path, ranking = report.render(results(build_all(small_board)), small_board, figures=False)
    table = pd.read_csv(path)
    assert len(table) == 2 * (1 + 3 * 2)
    assert not table.duplicated(["task", "method", "sparsity"]).any()
    numeric = table.drop(columns=["task", "method", "state", "mark", "budget"])
    assert all(pd.api.types.is_numeric_dtype(numeric[column]) for column in numeric)
    expected = leaderboard(select(frame(build_all(small_board)), small_board)[0], 3)
    pd.testing.assert_series_equal(table["top1"], expected["top1"], rtol=1e-5)
    methods = pd.read_csv(ranking)
    assert sorted(methods["method"]) == sorted(small_board["methods"])
    assert methods[["rank", "rank_in_budget", "flops_rank"]].notna().all(axis=None)
    assert (methods["budget"] == "2x").all(), "24 epochs of 12"


def test_untrusted_and_foreign_records_are_reported(tiny, results, build):
    records, board = tiny
    folder = results([*records, build("t", "magnitude@imp", 0.5, 0, 0.9)])
    victim = next(folder.glob("magnitude@imp/*.json"))
    write_atomic(victim, victim.read_text().replace('"top1": 0.9', '"top1": 0.8'))
    page = report.render(folder, board, figures=False)[0].read_text()
    assert f"Not trusted and left out: `magnitude@imp/{victim.name}`: changed since it was written" in page


def test_an_empty_board_renders(tmp_path, small_board):
    paths = report.render(tmp_path / "quick", small_board)
    assert [path.name for path in paths] == ["leaderboard.md", "leaderboard.csv", "ranking.csv"]
    assert "There are no records of this board yet." in paths[0].read_text()


def test_a_board_with_dense_rows_alone_renders(build, results, small_board):
    page = report.render(results([build("digits-mlp", "dense", 0.0, 0, 0.97)]), small_board)[0].read_text()
    assert "Fewer than two methods have finished every cell" in page
    assert "| `dense` |" in page


def test_a_board_of_failures_and_without_dense_rows_renders(build, results, small_board):
    folder = results([build("digits-mlp", "lamp@imp", 0.5, 0, None), build("digits-vit", "lamp@imp", 0.5, 0, None)])
    page = report.render(folder, small_board)[0].read_text()
    assert "1 cell did not run to their end" in page
    assert "| `lamp@imp` | failed |" in page


def test_cells_say_why_they_are_not_ranked(build, results, tiny):
    records, board = tiny
    bad = [{"rule": 2, "name": "zeros", "passed": False, "detail": ""}]
    board = {**board, "methods": [*board["methods"], "a@imp", "b@imp", "c@imp"]}
    extra = [build("t", "a@imp", 0.9375, s, 0.99, audit=bad) for s in (0, 1)]
    extra += [build("t", "c@imp", 0.9375, s, 0.98, unverified=True) for s in (0, 1)]
    page = report.render(results([*records, *extra, build("t", "b@imp", 0.9375, 0, 0.1)]), board, figures=False)[
        0
    ].read_text()
    assert "| `a@imp`         |   99.0 ± 0.0 † |" in page
    assert "| `b@imp`         |     10.0 ↓ (1) |" in page
    assert "| `a@imp`         | audit FAIL 2 |" in page
    assert "| `b@imp`         |    1/2 cells |" in page
    assert "| `c@imp`         |   98.0 ± 0.0 ‡ |" in page
    assert "| `c@imp`         |   unverified |" in page
    assert "FAIL 2 |" in page.split("## Details")[1]
    assert "†: failed its audit, unranked." in page


@pytest.mark.parametrize("width", [80, 160])
def test_the_terminal_never_cuts_a_number(build_all, board, width):
    output = io.StringIO()
    show(report.standing_of(frame(build_all(board)), board), Console(file=output, width=width))
    text = output.getvalue()
    overall, against, *rows = [line for line in text.splitlines() if line.startswith(" magnitude@finetune")]
    assert len(rows) == len(board["tasks"])
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text.split("who wins")[1].split("•")[0]
    assert re.fullmatch(r" magnitude@finetune +[≈?]?\d\.\d\d .* 2x +[≈?]?\d\.\d\d .*", overall)
    assert re.fullmatch(r" magnitude@finetune +magnitude@imp +[≈?]?[+-]\d+\.\d\d .*(worse|better|tie|runs) .*", against)
    assert ("±" in rows[0]) == (width == 160)
    assert all(re.fullmatch(r"[*≈]?\d+\.\d(±\d+\.\d)?", word) for word in rows[0].split()[1:])
