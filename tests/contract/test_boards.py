"""The boards that ship: each loads and states its budgets; the standard one leaves nothing of the zoo out."""

from __future__ import annotations

import pytest
import yaml

from sparsebench.grid import board as boards
from sparsebench.registry import criterion, modifier, regime

SHIPPED = sorted(path.stem for path in boards.FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_board_is_named_as_its_file_and_states_its_budgets(name):
    text = yaml.safe_load((boards.FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    board = boards.load(name)
    assert board.name == name
    assert [budget.name for budget in board.budgets] == [step["name"] for step in text["budgets"]]


def test_the_boards_that_were_promised_are_there():
    assert {"quick", "lite", "standard", "imagenet", "robustness"} <= set(SHIPPED)


def test_the_standard_board_has_every_criterion_regime_and_modifier():
    methods = boards.load("standard").methods
    criteria = {method.scorer.criterion for method in methods if method.scorer}
    regimes = {method.regime for method in methods}
    modifiers = {name for method in methods for name, _ in method.modifiers}
    assert set(criterion.names()) <= criteria | regimes
    assert set(regime.names()) <= regimes
    # Other training images for some methods make another board.
    assert set(modifier.names()) - modifiers == {"unbalanced"}


def test_the_robustness_board_asks_for_all_corruptions():
    assert boards.load("robustness").corruptions == "full"
