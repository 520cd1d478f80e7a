"""Robustness lottery: each claim holds on evidence of its kind, and fails where a method or a measure is sabotaged."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import sparsebench.corruptions.shown as shown
import sparsebench.measures.geometry as measure
from sparsebench.grid.state import data_of
from sparsebench.metrics.features import features
from sparsebench.papers import Evidence, Verdict
from sparsebench.papers import recipe as recipes
from tests.papers.small import measured, points, shortened, verdict

KEEPS, RANDOM = "magnitude@finetune", "random/erk@finetune"


def small():
    return shortened(
        "robustness_lottery", methods=[KEEPS, RANDOM], sparsities=[0.9], seeds=[0, 1, 2], corruptions="sample5"
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cells")


@pytest.fixture(scope="module")
def evidence(store) -> Evidence:
    return measured(small(), store)


def again(store: Path, target: Path) -> Evidence:
    """The same networks measured anew."""
    shutil.copytree(store, target, dirs_exist_ok=True)
    for record in (target / "records").glob("*.json"):
        record.unlink()
    return measured(small(), target)


def as_if(e: Evidence, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Evidence:
    return Evidence(e.scale, e.board, [change(record) for record in e.records])


def with_dense_parent(e: Evidence, method: str) -> Evidence:
    """As if the dense networks were only as good as a pruned arm."""
    name = e.name(method)

    def change(record):
        if record["cell"]["method"] != "dense":
            return record
        theirs = e.record(task=record["cell"]["task"], method=name, sparsity=0.9, seed=record["cell"]["seed"])
        return {**record, "metrics": theirs["metrics"]}

    return as_if(e, change)


def test_the_whole_grid_plans_at_both_scales():
    from sparsebench.grid.plan import plan

    recipe = recipes.load("robustness_lottery")
    assert len(plan(recipe.board("smoke").cells).cells) == 150
    assert len(plan(recipe.board("full").cells).cells) == 186


def test_a_pruned_network_that_withstands_more_than_its_parent_wins_the_lottery(evidence):
    assert verdict(small(), "lottery", evidence) is Verdict.NOT
    assert points(small(), "lottery", evidence) == ["refuted", "refuted"]
    robbed = with_dense_parent(evidence, RANDOM)
    assert verdict(small(), "lottery", robbed) is Verdict.REPRODUCED
    assert points(small(), "lottery", robbed) == ["holds", "undecided"]


def test_most_are_brittle_unless_the_parent_is_worse(evidence):
    assert verdict(small(), "brittle", evidence) is Verdict.REPRODUCED
    assert verdict(small(), "brittle", with_dense_parent(evidence, RANDOM)) is Verdict.NOT


@pytest.mark.parametrize("claim", ["not-by-count", "own-geometry"])
def test_two_methods_that_are_one_do_not_differ(evidence, claim):
    assert verdict(small(), claim, evidence) is Verdict.REPRODUCED
    same = evidence.exchanged(RANDOM, KEEPS)
    assert verdict(small(), claim, same) is Verdict.NOT
    assert set(points(small(), claim, same)) == {"refuted"}


def test_margins_of_other_images_foretell_nothing(evidence, store, tmp_path, monkeypatch):
    """The bug: samples out of order, as of ranks whose shares were put together wrongly."""
    assert "refuted" not in points(small(), "margin-warns-within", evidence)
    assert points(small(), "margin-warns-within", evidence)[-1] == "holds"  # the brittle arm
    assert points(small(), "margin-warns", evidence)[-1] == "holds"
    right = measure.margins

    def shuffled(x, w, b, label):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
        return right(x, w, b, label)[order]

    monkeypatch.setattr(measure, "margins", shuffled)
    wrong = again(store, tmp_path)
    for claim in ("margin-warns", "margin-warns-within"):
        assert verdict(small(), claim, wrong) is Verdict.NOT
        words = points(small(), claim, wrong)
        assert "holds" not in words
        assert "refuted" in words


def test_angles_away_from_the_class_are_not_wider(evidence, store, tmp_path, monkeypatch):
    """The bug: the cosine has the wrong sign."""
    assert verdict(small(), "wider-angles", evidence) is Verdict.REPRODUCED
    right = measure.angles
    monkeypatch.setattr(measure, "angles", lambda x, w: right(-x, w))
    wrong = again(store, tmp_path)
    assert verdict(small(), "wider-angles", wrong) is Verdict.NOT
    assert set(points(small(), "wider-angles", wrong)) == {"refuted"}


def test_a_blur_of_other_images_is_not_redundant(evidence, store, tmp_path, monkeypatch):
    """The bug: what is shown is not the image it is taken for."""
    assert verdict(small(), "redundant", evidence) is Verdict.REPRODUCED
    right = shown.corrupted_bytes

    def mixed_up(images, kind, severity, **which):
        return right(images.flip(0) if kind == "zoom_blur" else images, kind, severity, **which)

    monkeypatch.setattr(shown, "corrupted_bytes", mixed_up)
    data_of.cache_clear()  # it keeps the corrupted images
    try:
        wrong = again(store, tmp_path)
    finally:
        data_of.cache_clear()
    assert verdict(small(), "redundant", wrong) is Verdict.NOT
    assert "holds" not in points(small(), "redundant", wrong)


def test_what_the_methods_cannot_do_is_said(evidence):
    assert verdict(small(), "tickets", evidence) is Verdict.UNTESTABLE


def test_the_record_agrees_with_a_measurement_by_hand(evidence, store):
    """Accuracy and mean margin from the stored network itself, without the grid's finish."""
    from sparsebench.grid.hardware import Hardware
    from sparsebench.grid.load import load_cell
    from sparsebench.grid.store import Store

    record = next(r for r in evidence.records if r["cell"]["method"] == KEEPS)
    stored = load_cell(dict(record), Store(store), Hardware("cpu"))
    x, z, y, head = features(stored.loaded.net, stored.data.test_dataloader())
    over = z[torch.arange(len(y)), y][:, None] - z
    apart = (head.weight.double()[y][:, None] - head.weight.double()[None]).norm(dim=2)
    margin = torch.where(apart > 0, over / apart.clamp(min=1e-12), torch.inf).min(1).values
    geometry = record["measures"]["geometry"]
    assert geometry["margin_median"] == pytest.approx(margin.quantile(0.5).item(), abs=1e-4)
    assert sum(geometry["classes"]["n"]) == len(y) == 400
    hits = sum(n * recall for n, recall in zip(geometry["classes"]["n"], geometry["classes"]["recall"], strict=True))
    assert hits == pytest.approx(400 * record["metrics"]["top1"], abs=0.01)
    assert geometry["length_mean"] == pytest.approx(x.norm(dim=1).mean().item(), abs=1e-4)
    # Over kinds and severities alike, while the record's figure is over showings alike.
    assert geometry["mca"] == pytest.approx(record["metrics"]["corrupted"], abs=0.01)
