"""The validation curve: what it records, that nothing else changes by it, and that it survives a kill."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import sparsebench.grid.training as training
from sparsebench.grid.cell import Cell
from sparsebench.grid.plan import plan
from sparsebench.grid.state import data_of, initial_net, top1
from sparsebench.grid.store import Store
from sparsebench.grid.watch import ValidationCurve
from sparsebench.methods import parse
from sparsebench.protocol import canonical
from sparsebench.scoring import untouched
from sparsebench.tasks import from_settings, task
from tests.grid.conftest import MLP, RESNET, run_inline, tiny_board
from tests.grid.killing import run_killed
from tests.ranks import as_ranks


def watched(text: str, every: int = 1) -> str:
    return text.replace("epochs: 3", f"epochs: 3, validate_every: {every}")


@pytest.mark.parametrize(("method", "text"), [("magnitude@imp(rewind=0.34)", MLP), ("snip@init", RESNET)])
def test_killed_and_resumed_has_the_curve_of_an_uninterrupted_run(method, text, tmp_path, monkeypatch):
    board = tiny_board(method, task=watched(text))
    whole = run_inline(board, tmp_path / "whole")
    resumed, _ = run_killed(board, tmp_path / "killed", monkeypatch, 20)
    for cell in board.cells:
        one, two = (result.records[cell.id].data for result in (whole, resumed))
        assert one["curves"] == two["curves"]
        assert len(one["curves"]["val_top1"]) == len(one["curves"]["losses"]) >= 3
        assert one["metrics"] == two["metrics"]


def test_watching_changes_nothing_else_and_ends_with_the_accuracy_of_the_record(tmp_path):
    """Dropout and augmentation draw random numbers between the epochs."""
    text = RESNET.replace("mask_every: 4", "mask_every: 4, augment: shift1")
    plain, often, rarely = (
        run_inline(tiny_board("magnitude@gmp", task=t), tmp_path / str(i))
        for i, t in enumerate((text, watched(text), watched(text, 2)))
    )
    for method in ("dense", "magnitude@gmp"):
        a, b, c = (
            next(r for r in result.records.values() if r.cell["method"] == method) for result in (plain, often, rarely)
        )
        assert a.data["metrics"] == b.data["metrics"] == c.data["metrics"]
        assert a.data["curves"] == {"losses": b.data["curves"]["losses"]}
        curve = b.data["curves"]["val_top1"]
        assert len(set(curve)) > 1
        assert curve[-1] == b.data["metrics"]["val_top1"]
        assert c.data["curves"]["val_top1"] == [None, curve[1], None]
    digests = [
        [Store(tmp_path / str(i)).stage_report(s)["final_digest"] for s in plan(board.cells).stages]
        for i, board in enumerate(tiny_board("magnitude@gmp", task=t) for t in (text, watched(text)))
    ]
    assert digests[0] == digests[1]


def test_every_point_is_the_accuracy_of_the_network_of_that_epoch(tmp_path, monkeypatch):
    """Another computation: logits of all validation images at once, in evaluation mode, counted by hand."""
    seen = []

    class Spy(training.LossCurve):
        def on_train_epoch_end(self, trainer, pl_module):
            super().on_train_epoch_end(trainer, pl_module)
            x, y = (torch.cat(p) for p in zip(*data_of("digits", 128, "none", None, False, "cpu").val_dataloader()))  # noqa: B905
            with untouched(pl_module.net, train=False), torch.no_grad():
                seen.append(int((pl_module.net(x).argmax(1) == y).sum()) / len(y))

    monkeypatch.setattr(training, "LossCurve", Spy)
    records = run_inline(tiny_board("random@init", task=watched(RESNET)), tmp_path).records
    curves = [r.data["curves"]["val_top1"] for r in records.values()]
    assert sorted(map(tuple, curves)) == sorted([tuple(seen[:3]), tuple(seen[3:])])


def test_two_ranks_share_the_images_and_have_the_curve_of_one():
    board_task = replace(task("digits-resnet8"), network_arguments={"width": 4})
    net = initial_net(board_task, 0, (1, 8, 8), 10)
    data = data_of("digits", 128, "none", None, False, "cpu")
    one = top1(net, data.val_dataloader())
    seen = []

    def train(rank: int) -> list:
        copy = deepcopy(net)  # threads share one random state
        curve, batches = ValidationCurve(data.val_dataloader(), 2), data.val_dataloader()
        seen.append(sum(len(y) for _, y in batches))
        for _ in range(3):
            curve.on_train_epoch_end(None, SimpleNamespace(net=copy))
        return curve.top1

    assert as_ranks(2, train) == [[None, one, None]] * 2
    assert sum(seen) == 200, "each image on one rank"


def test_a_task_that_does_not_ask_keeps_its_name():
    plain = task("digits-mlp")
    asked = replace(plain, recipe=replace(plain.recipe, validate_every=2))
    assert "validate_every" not in canonical(plain.settings())
    assert asked.settings()["recipe"]["validate_every"] == 2
    assert from_settings(asked.settings()) == asked
    assert from_settings(plain.settings()) == plain
    cells = [Cell(t, parse("dense"), 0.0, 0) for t in (plain, asked)]
    assert cells[0].id != cells[1].id
