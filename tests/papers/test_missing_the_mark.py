"""Missing the mark: each claim holds on evidence of its kind, and fails where a method is sabotaged."""

from __future__ import annotations

import pytest
import torch

import sparsebench.grid.perform as perform
from sparsebench.benchmarks.papers import missing_the_mark as paper
from sparsebench.masks import Masks
from sparsebench.papers import Evidence, Verdict
from sparsebench.papers import recipe as recipes
from tests.papers.small import grafted, measured, points, shortened, verdict

RANDOM, LATE, SNIP = paper.RANDOM, paper.LATE, "snip@init"
SMALL = [SNIP, RANDOM, LATE, f"{SNIP}+shuffle", f"{SNIP}+reinit", f"{SNIP}+invert", f"{LATE}+shuffle", f"{LATE}+reinit"]

SHORT = {"base": "digits-mlp", "name": "short", "recipe": {"epochs": 10}}
RESNET = {"base": "digits-resnet8", "name": "resnet", "network_arguments": {"width": 8}, "recipe": {"epochs": 5}}


def small(**changes):
    return shortened("missing_the_mark", **{
        "tasks": [SHORT], "methods": SMALL, "sparsities": [0.95], "seeds": [0, 1, 2], **changes,
    })  # fmt: skip


@pytest.fixture(scope="module")
def evidence(tmp_path_factory) -> Evidence:
    """The dense row and eight arms: 30 trainings."""
    return measured(small(), tmp_path_factory.mktemp("cells"))


@pytest.fixture(autouse=True)
def one_early_method(monkeypatch):
    monkeypatch.setattr(paper, "EARLY", (SNIP,))


def test_pruning_at_initialisation_that_is_no_better_than_random_is_noticed(evidence):
    assert verdict(small(), "above-random", evidence) is Verdict.REPRODUCED
    assert verdict(small(), "above-random", evidence.exchanged(SNIP, RANDOM)) is Verdict.NOT


def test_pruning_at_initialisation_that_is_as_good_as_after_training_is_noticed(evidence):
    assert verdict(small(), "below-late", evidence.exchanged(SNIP, RANDOM)) is Verdict.REPRODUCED
    assert verdict(small(), "below-late", evidence.exchanged(SNIP, LATE)) is Verdict.NOT


@pytest.mark.parametrize(("claim", "control"), [("shuffled", "shuffle"), ("drawn-anew", "reinit")])
def test_a_control_that_destroys_the_network_is_noticed(evidence, claim, control):
    assert verdict(small(), claim, evidence.exchanged(f"{SNIP}+{control}", SNIP)) is Verdict.REPRODUCED
    assert points(small(), claim, evidence.exchanged(f"{SNIP}+{control}", RANDOM)) == ["refuted"]


def test_shuffling_across_layers_in_place_of_within_them_is_noticed(tmp_path, monkeypatch):
    """The bug: the entries of all tensors in one pot. The densities of the layers are lost, and so is the network."""
    monkeypatch.setattr(perform, "shuffled", across_layers)
    recipe = small(tasks=[RESNET], methods=[SNIP, f"{SNIP}+shuffle"], sparsities=[0.9])
    assert points(recipe, "shuffled", measured(recipe, tmp_path)) == ["refuted"]


def across_layers(masks: Masks, seed: int) -> Masks:
    generator = torch.Generator().manual_seed(seed)
    flat = torch.cat([m.flatten() for m in masks.values()])
    parts = flat[torch.randperm(len(flat), generator=generator)].split([m.numel() for m in masks.values()])
    return Masks({n: part.view(m.shape) for (n, m), part in zip(masks.items(), parts, strict=True)})


def test_scores_whose_order_means_nothing_are_noticed(evidence, monkeypatch):
    assert verdict(small(), "order-matters", grafted(evidence, SNIP, "dense")) is Verdict.REPRODUCED
    assert verdict(small(), "order-matters", evidence.exchanged(SNIP, f"{SNIP}+invert")) is Verdict.NOT


def test_inverted_grasp_that_loses_its_accuracy_is_noticed(evidence):
    """SNIP's cells under GraSP's name."""
    recipe = small(methods=["grasp@init", "grasp@init+invert", LATE])
    stands_for = {"grasp@init": SNIP, LATE: LATE, "dense": "dense"}
    for inverted, expected in ((SNIP, "holds"), (RANDOM, "refuted")):
        arms = {**stands_for, "grasp@init+invert": inverted}
        records = [
            {**r, "cell": {**r["cell"], "method": method}}
            for method, by in arms.items()
            for r in evidence.records
            if r["cell"]["method"] == by
        ]
        assert points(recipe, "inverted", Evidence("smoke", recipe.board("smoke"), records)) == [expected]


def test_masks_found_after_training_that_do_not_need_their_weights_are_noticed(evidence):
    poor = evidence.exchanged(f"{LATE}+shuffle", RANDOM).exchanged(f"{LATE}+reinit", RANDOM)
    assert points(small(), "late-needs-its-weights", poor) == ["holds", "holds"]
    same = evidence.exchanged(f"{LATE}+shuffle", LATE).exchanged(f"{LATE}+reinit", LATE)
    assert verdict(small(), "late-needs-its-weights", same) is Verdict.NOT


@pytest.mark.parametrize("scale", ["smoke", "full"])
def test_every_early_method_stands_beside_its_controls(scale):
    board = recipes.load("missing_the_mark").board(scale)
    names = {m.name for m in board.methods}
    early = ("snip@init", "grasp@init", "synflow@init", "magnitude@init")
    assert {f"{m}{c}" for m in early for c in ("", "+shuffle", "+reinit", "+invert")} <= names
    assert {RANDOM, LATE, f"{LATE}+shuffle", f"{LATE}+reinit"} <= names
