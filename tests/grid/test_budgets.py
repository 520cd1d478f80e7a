"""Budget classes and the baseline of a board: read, defaulted, refused by line and key; no cell depends on them."""

from __future__ import annotations

import pytest

from sparsebench.errors import UsageError
from sparsebench.grid import board as boards
from sparsebench.grid import budgets

GOOD = """\
name: small
version: 1
title: "A small board"
tasks: [digits-mlp]
methods: [magnitude@imp, rigl]
sparsities: [0.9]
seeds: [0]
"""


def board(*lines: str):
    return boards.from_text(GOOD + "\n".join(lines) + "\n", "b.yaml")


def test_a_board_without_budgets_has_the_default_ladder():
    names = [(b.name, b.epochs, b.flops) for b in board().budgets]
    assert names == [("1x", 1.0, 1.0), ("2x", 2.0, 2.0), ("5x", 5.0, 5.0), ("10x", 10.0, 10.0)]
    assert board().info()["budgets"][1] == {"name": "2x", "epochs": 2.0, "flops": 2.0}
    assert board().info()["baseline"] == ""


def test_budgets_and_baseline_are_read_and_change_no_cell():
    mine = board("budgets: [{name: as dense, epochs: 1, flops: 1.5}]", "baseline: magnitude/global@imp")
    assert mine.budgets == (budgets.Budget("as dense", 1.0, 1.5),)
    assert mine.baseline == "magnitude@imp", "under its canonical name"
    assert [cell.id for cell in mine.cells] == [cell.id for cell in board().cells]
    assert mine.narrowed(seeds=[0]).budgets == mine.budgets


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("budgets: []", r"budgets: is \[\]; a list such as"),
        ("budgets: 2x", "budgets: is '2x'; a list such as"),
        ("budgets: [2x]", "budgets: a class is '2x'; a mapping with name, epochs, flops"),
        ("budgets: [{name: a, epochs: 1}]", "budgets: class 'a' has no 'flops'"),
        ("budgets: [{name: a, epoch: 1, flops: 1}]", "budgets: unknown key 'epoch': did you mean 'epochs'"),
        ("budgets: [{name: a, epochs: 0, flops: 1}]", "budgets: class 'a': epochs is 0; a number above 0"),
        ("budgets: [{name: a, epochs: 1, flops: .inf}]", "budgets: class 'a': flops is inf"),
        ("budgets: [{name: a, epochs: true, flops: 1}]", "budgets: class 'a': epochs is True"),
        (
            "budgets: [{name: more, epochs: 1, flops: 1}]",
            "budgets: a class is named 'more', which is empty or reserved",
        ),
        (
            "budgets: [{name: a, epochs: 2, flops: 2}, {name: b, epochs: 1, flops: 3}]",
            "budgets: class 'b' allows less than 'a' before it; list classes from small to large",
        ),
        (
            "budgets: [{name: a, epochs: 2, flops: 2}, {name: b, epochs: 2, flops: 2}]",
            "budgets: classes 'a' and 'b' have the same bounds",
        ),
        (
            "budgets: [{name: a, epochs: 1, flops: 1}, {name: a, epochs: 2, flops: 2}]",
            "budgets: class 'a' is listed twice",
        ),
        ("baseline: snap", "baseline: unknown method 'snap': did you mean 'snip'"),
        ("baseline: lamp@imp", "baseline: lamp@imp is not a pruned row of the board; .* one of magnitude@imp, rigl"),
        ("baseline: dense", "baseline: dense is not a pruned row"),
    ],
)
def test_a_wrong_one_is_named_by_file_line_and_key(line, message):
    with pytest.raises(UsageError, match=r"b\.yaml, line 8: " + message):
        board(line)


def test_an_empty_baseline_is_none():
    assert board("baseline:").baseline == ""
