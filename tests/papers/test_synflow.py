"""SynFlow's claims: hold for real cells, fail for a SynFlow of one round, of signed weights, or one that sees data."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import yaml

import sparsebench.criteria.synflow as implementation
from sparsebench.benchmarks.papers import synflow as paper
from sparsebench.grid.board import Board, from_text
from sparsebench.papers import Evidence, Finding, Verdict
from sparsebench.papers.recipe import load
from sparsebench.registry import criterion
from sparsebench.scoring import gradients
from tests.grid.conftest import run_inline

RECIPE = load("synflow")
SHORT = {"name": "short", "base": "digits-mlp", "recipe": {"epochs": 1}}
HALF = {**SHORT, "name": "short-half", "subset": {"train": 600}}
SYNFLOW, SNIP = "synflow@init", "snip@init"


def finding(claim: str, evidence: Evidence) -> Finding:
    return next(c for c in RECIPE.claims if c.name == claim).find(evidence)


def verdict(claim: str, evidence: Evidence) -> Verdict:
    return finding(claim, evidence).verdict


@pytest.fixture(scope="module", autouse=True)
def short_names() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"WHOLE": "short", "HALF": "short-half", "CHAINS": ["short"]}.items():
            patch.setattr(paper, name, value)
        yield


def small(*methods: str, tasks: tuple[dict, ...] = (SHORT,)) -> Board:
    """The perceptron of the recipe after one epoch: what is claimed of masks needs no more."""
    keys = {"methods": list(methods), "tasks": list(tasks), "sparsities": [0.99, 0.999], "seeds": [0, 1]}
    return from_text(yaml.safe_dump({"name": "synflow", "version": 1, **RECIPE.smoke, **keys}), "test_synflow")


def measured(board: Board, store) -> Evidence:
    result = run_inline(board, store)
    assert not result.failed
    return Evidence("smoke", board, [dict(record.data) for record in result.records.values()])


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Evidence:
    return measured(small(*paper.METHODS), tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def halves(tmp_path_factory) -> Evidence:
    return measured(small(SYNFLOW, SNIP, tasks=(SHORT, HALF)), tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize("claim", ["synflow-never-cuts", "synflow-empties-no-layer", "flow-is-conserved"])
def test_real_cells_show_it(claim, real):
    assert verdict(claim, real) is Verdict.REPRODUCED


def test_single_shots_cut_real_networks(real):
    """With two seeds a method that cuts one of them is undecided; most cut both."""
    words = [point.word for point in finding("one-shot-cuts", real).points]
    assert words.count("holds") >= 3
    assert "refuted" not in words


def test_one_round_cuts_the_network(tmp_path, monkeypatch):
    monkeypatch.setitem(criterion.entry("synflow").traits, "rounds", 1)
    sabotaged = measured(small(SYNFLOW), tmp_path)
    assert "refuted" in [point.word for point in finding("synflow-never-cuts", sabotaged).points]
    assert "refuted" in [point.word for point in finding("synflow-empties-no-layer", sabotaged).points]


def test_signed_weights_are_not_conserved(tmp_path, monkeypatch):
    monkeypatch.setattr(implementation, "_linear", lambda t: t.detach().double() if t.is_floating_point() else t)
    found = finding("flow-is-conserved", measured(small(SYNFLOW), tmp_path))
    assert found.points[0].word == "refuted"
    assert found.verdict is not Verdict.REPRODUCED


def test_another_method_s_masks_are_noticed(real):
    assert verdict("synflow-never-cuts", real.exchanged(SYNFLOW, SNIP)) is not Verdict.REPRODUCED


def test_methods_that_do_not_cut_are_noticed(real):
    for method in paper.ONE_SHOT:
        words = [point.word for point in finding("one-shot-cuts", real.exchanged(method, SYNFLOW)).points]
        assert words.count("refuted") == 1


def test_half_of_the_data_changes_nothing_for_synflow(halves):
    assert verdict("no-data", halves) is Verdict.REPRODUCED
    assert verdict("no-data", halves.exchanged(SYNFLOW, SNIP)) is Verdict.NOT
    assert verdict("no-data", halves.exchanged(SNIP, SYNFLOW)) is Verdict.UNTESTABLE


def test_a_synflow_that_looks_at_images_is_noticed(halves, tmp_path, monkeypatch):
    def of_images(model, params, batches, loss):
        found = gradients(loss(model, next(iter(batches))), params)
        return {n: (w * g).abs().detach() for (n, w), g in zip(params.items(), found, strict=True)}

    monkeypatch.setitem(criterion._live, "synflow", of_images)
    monkeypatch.setitem(RECIPE.smoke, "measures", [])
    sabotaged = measured(small(SYNFLOW, tasks=(SHORT, HALF)), tmp_path)
    ours = [r for r in sabotaged.records if r["cell"]["method"] == SYNFLOW]
    others = [r for r in halves.records if r["cell"]["method"] != SYNFLOW]
    assert verdict("no-data", Evidence("smoke", halves.board, [*others, *ours])) is Verdict.NOT


def invented(top1: Callable[[str], float]) -> Evidence:
    """The whole board with accuracies by hand, which scatter by a tenth of a point."""
    board = RECIPE.board("smoke")
    records = [
        {
            "status": "ok",
            "cell": cell.key(),
            "metrics": {"top1": top1(cell.method.name) + 0.001 * (cell.seed * len(cell.method.name) % 3)},
        }
        for cell in board.cells
    ]
    return Evidence("smoke", board, records)


ORDER = {SYNFLOW: 0.8, SNIP: 0.6, "random@init": 0.3}


@pytest.mark.parametrize(
    ("claim", "better", "worse"),
    [("synflow-over-snip", SYNFLOW, SNIP), ("snip-over-random", SNIP, "random@init")],
)
def test_an_order_holds_and_its_reverse_is_refuted(claim, better, worse):
    as_claimed = invented(lambda method: ORDER.get(method, 0.5))
    assert verdict(claim, as_claimed) is Verdict.REPRODUCED
    assert verdict(claim, as_claimed.exchanged(better, worse)) is Verdict.NOT
    turned = {better: ORDER[worse], worse: ORDER[better]}
    points = finding(claim, invented(lambda method: turned.get(method, 0.5))).points
    assert {point.word for point in points} == {"refuted"}


def test_published_numbers_are_those_of_the_authors_arrays():
    """Entered twice by hand, here by compression: 15 of VGG-16, 12 of ResNet-18, and magnitude there."""
    by_level = {
        ("vgg16-table", 90): [91.15, 93.12, 92.26, 91.84, 93.26],
        ("vgg16-table", 96.84): [87.52, 91.95, 91.08, 90.17, 92.12],
        ("vgg16-table", 99): [79.14, 89.80, 89.15, 87.49, 90.08],
        ("resnet18-table", 90): [92.92, 94.29, 93.78, 94.07],
        ("resnet18-table", 96.84): [89.57, 93.23, 92.09, 92.66],
        ("resnet18-table", 99): [82.98, 90.80, 89.71, 90.36],
        ("resnet18-magnitude", 90): [94.40],
        ("resnet18-magnitude", 96.84): [10.0],
        ("resnet18-magnitude", 99): [10.0],
    }
    nothing = Evidence("full", RECIPE.board("full"), [])
    for (claim, level), numbers in by_level.items():
        points = finding(claim, nothing).points
        assert [p.published for p in points if p.where.endswith(f" {level:g} %")] == numbers
