"""Lottery tickets: each claim holds on evidence of its kind, and fails where a method is sabotaged."""

from __future__ import annotations

import pytest

import sparsebench.grid.perform as perform
from sparsebench.benchmarks.papers import lottery_ticket as paper
from sparsebench.papers import Evidence, Verdict
from sparsebench.papers import recipe as recipes
from sparsebench.phases import Prune
from tests.papers.small import grafted, measured, points, shortened, verdict

TICKET, REINIT, ONE_SHOT, REWOUND = paper.TICKET, paper.REINIT, paper.ONE_SHOT, "magnitude@imp(rewind=0.25)"
LEVEL = 0.984375
PERCEPTRON = {"base": "digits-mlp", "name": "no-resnet", "recipe": {"epochs": 12}}
"""A perceptron that passes for a residual network, since it trains in a fraction of a second."""


def small(**changes):
    return shortened("lottery_ticket", **{
        "tasks": [PERCEPTRON], "methods": [TICKET, REWOUND, REINIT, ONE_SHOT], "sparsities": [LEVEL],
        "seeds": [0, 1, 2], "defaults": {"imp": {"rate": 0.75}}, **changes,
    })  # fmt: skip


@pytest.fixture(scope="module")
def evidence(tmp_path_factory) -> Evidence:
    return measured(small(), tmp_path_factory.mktemp("cells"))


def test_the_weights_of_a_ticket_matter(evidence):
    assert verdict(small(), "weights-matter", evidence) is Verdict.REPRODUCED
    assert points(small(), "weights-matter", evidence.exchanged(TICKET, REINIT)) == ["refuted"]


def test_a_rewind_that_draws_new_weights_is_noticed(tmp_path, monkeypatch):
    """The bug: initial weights of another draw are put back. The ticket is then as bad as the control."""
    fresh = perform.fresh_net
    monkeypatch.setattr(perform, "fresh_net", lambda state, data, hardware, draw=0: fresh(state, data, hardware, 1))
    recipe = small(methods=[TICKET, REINIT])
    broken = measured_despite_the_audit(recipe, tmp_path)
    assert verdict(recipe, "weights-matter", broken) is Verdict.NOT


def measured_despite_the_audit(recipe, store) -> Evidence:
    e = measured(recipe, store)
    rules = {rule["rule"] for r in e.records for rule in r["audit"] if not rule["passed"]}
    assert rules == {6}, "rewinding is audited"
    return e


def test_pruning_at_once_in_place_of_rounds_is_noticed(evidence):
    assert points(small(), "rounds-matter", grafted(evidence, TICKET, "dense")) == ["holds"]
    assert points(small(), "rounds-matter", evidence.exchanged(TICKET, ONE_SHOT)) == ["refuted"]


def test_rewinding_to_initialisation_in_place_of_an_early_step_is_noticed(evidence):
    assert points(small(), "rewinding-helps", grafted(evidence, REWOUND, "dense")) == ["holds"]
    assert points(small(), "rewinding-helps", evidence.exchanged(REWOUND, TICKET)) == ["refuted"]


def test_a_ticket_that_falls_short_of_the_dense_network_is_noticed(evidence):
    assert verdict(small(), "tickets-match", grafted(evidence, TICKET, "dense")) is Verdict.REPRODUCED
    assert points(small(), "tickets-match", evidence.exchanged(TICKET, REINIT)) == ["refuted"]


@pytest.mark.parametrize("scale", ["smoke", "full"])
def test_pruning_at_once_is_one_round_and_the_others_are_more(scale):
    board = recipes.load("lottery_ticket").board(scale)
    for sparsity in board.sparsities:
        rounds = {
            method.name: sum(isinstance(phase, Prune) for phase in method.phases(sparsity))
            for method in board.methods
            if not method.is_dense
        }
        assert rounds.pop(ONE_SHOT) == 1
        assert min(rounds.values()) > 2
