"""What a record says of a finished network, on networks small enough to count by hand."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from sparsebench import agreement
from sparsebench.errors import UsageError
from sparsebench.grid.board import from_text
from sparsebench.grid.finish import sparsity
from sparsebench.grid.plan import plan
from sparsebench.grid.rerun import cell_of
from sparsebench.grid.stages import Loaded
from sparsebench.masks import Masks
from sparsebench.verify.arithmetic import within
from sparsebench.verify.names import cell_name
from sparsebench.verify.report import Report
from tests.grid.conftest import MLP, TINY, run_inline, tiny_board


def test_sparsity_is_that_of_the_prunable_weights():
    """4 of 12 weights are kept; the 3 biases and the 6 parameters of the norm count among the parameters alone."""
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    mask = torch.zeros(3, 4, dtype=torch.bool)
    mask[0] = True
    found = sparsity(net, Loaded(net, Masks({"0.weight": mask}), None), 0.6)
    assert (found["asked"], found["kept"], found["prunable"], found["total"]) == (0.6, 4, 12, 21)
    assert found["achieved"] == pytest.approx(1 - 4 / 12)
    assert found["layers"] == {"0.weight": {"kept": 4, "size": 12}}


def test_a_smaller_network_is_measured_against_the_whole_one():
    whole, small = nn.Linear(4, 3), nn.Linear(4, 2)
    found = sparsity(whole, Loaded(small, None, None), 0.3)
    assert (found["kept"], found["prunable"], found["parameters"], found["total"]) == (8, 12, 10, 15)
    assert found["achieved"] == pytest.approx(1 / 3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A store with the dense row of a small perceptron that has learnt something."""
    store = tmp_path_factory.mktemp("store")
    board = tiny_board(task=MLP.replace("epochs: 3", "epochs: 12"))
    return board, store, run_inline(board, store).records[board.cells[0].id].data


def test_a_record_tells_of_corrupted_images(finished):
    _, _, data = finished
    shown, metrics = data["corruptions"], data["metrics"]
    assert (shown["set"], shown["n"], len(shown["kinds"])) == ("sample5", 2000, 15)
    assert {n for counts in shown["counts"].values() for n in counts} == {26, 27}
    assert 0.3 < metrics["corrupted"] < metrics["top1"] - 0.05
    pairs = [(shown["kinds"][kind][s], shown["counts"][kind][s]) for kind in shown["kinds"] for s in range(5)]
    assert metrics["corrupted"] == pytest.approx(sum(a * n for a, n in pairs) / 2000)
    by_severity = [sum(shown["kinds"][kind][s] for kind in shown["kinds"]) / 15 for s in range(5)]
    assert by_severity[0] > by_severity[2] > by_severity[4]
    assert list(within(data, None)) == []


def test_the_whole_set_is_another_cell_of_the_same_stages(finished):
    """And the sample's accuracy is near that of the whole set, of which it is a draw."""
    board, store, sample = finished
    whole = replace(board, corruptions="full")
    (cell,), (other,) = whole.cells, board.cells
    assert cell.id != other.id
    assert plan(whole.cells).stages.keys() == plan(board.cells).stages.keys()
    result = run_inline(whole, store)
    assert result.jobs == 1
    data = result.records[cell.id].data
    assert data["cell_id"] == cell_name(data)
    assert data["settings"]["corruptions"] == "full"
    assert (data["corruptions"]["n"], data["metrics"]["top1"]) == (75 * 400, sample["metrics"]["top1"])
    assert data["metrics"]["corrupted"] == pytest.approx(sample["metrics"]["corrupted"], abs=0.03)
    assert cell_of(data).id == cell.id
    assert list(within(data, None)) == []


def test_a_board_that_asks_for_other_corruptions_is_refused():
    text = TINY.format(task=MLP, methods="[dense]", sparsities="[]")
    assert from_text(text + "corruptions: full\n", "b.yaml").cells[0].corruptions == "full"
    with pytest.raises(UsageError, match="corruptions: is 'all'; sample5 or full is wanted"):
        from_text(text + "corruptions: all\n", "b.yaml")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["metrics"].update(corrupted=data["metrics"]["corrupted"] + 1 / 2000),
        lambda data: data["metrics"].pop("corrupted"),
        lambda data: data["corruptions"]["kinds"]["fog"].__setitem__(0, 0.123),
        lambda data: data["corruptions"]["counts"]["fog"].__setitem__(0, 25),
        lambda data: data["corruptions"]["kinds"].pop("fog"),
        lambda data: data["corruptions"].update(set="full"),
    ],
)
def test_verify_sees_corrupted_accuracies_that_do_not_add_up(finished, change):
    data = deepcopy(dict(finished[2]))
    change(data)
    found = Report("here")
    found.check("arithmetic", "cell", "file", within(data, None))
    assert not found.passed


def test_a_record_without_corrupted_images_still_agrees_with_its_rerun(finished):
    """Records of older code lack the fields; what they have is compared."""
    later = finished[2]
    older = {key: value for key, value in deepcopy(later).items() if key != "corruptions"}
    del older["metrics"]["corrupted"]
    older["provenance"]["commit"] = "0" * 40
    assert list(within(older, None)) == []
    assert agreement.differences(older, later) == []
    moved = deepcopy(later)
    moved["metrics"]["corrupted"] -= 0.02
    assert agreement.differences(later, moved)
    assert agreement.differences(later, moved, agreement.Tolerance()) == []
