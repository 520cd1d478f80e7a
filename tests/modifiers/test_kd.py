"""+kd: its losses by hand, the phases it changes, the stage it shares, and what must stay as it was."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import sparsebench.grid.perform as perform
import sparsebench.grid.training as training
from sparsebench.errors import UsageError
from sparsebench.grid.plan import plan
from sparsebench.grid.rerun import cell_of
from sparsebench.grid.store import Store
from sparsebench.methods import parse
from sparsebench.models.classifier import Classifier
from sparsebench.models.distillation import Distillation, attention, similarity_preserving
from sparsebench.phases import Distill, Train, describe, phase_of
from sparsebench.recipe import Recipe
from sparsebench.snapshot import state_digest
from sparsebench.verify import verify
from tests.grid.conftest import MLP, RESNET, run_inline, tiny_board
from tests.grid.killing import run_killed
from tests.grid.tampering import failed

SP = "magnitude@finetune+kd(alpha=0.0,feature='sp',beta=10.0)"
AT = "l1@finetune+kd(feature='at',beta=10.0)"
RECIPE = Recipe(epochs=1, rate=0.1)


def linear(rows: list[list[float]]) -> torch.nn.Linear:
    net = torch.nn.Linear(len(rows[0]), len(rows), bias=False)
    net.weight.data = torch.tensor(rows)
    return net


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_the_loss_by_hand():
    """One image with logits (1, 0) and (2, 0) in the teacher, T = 2: every term written out."""
    student, teacher = linear([[1.0], [0.0]]), linear([[2.0], [0.0]])
    module = Classifier(student, RECIPE, distillation=Distillation(teacher, Distill(0.75, 2.0, 0.25)))
    p, q = softmax(np.array([[1.0, 0.0]])), softmax(np.array([[0.5, 0.0]]))
    kl = (p * np.log(p / q)).sum()
    expected = 0.25 * np.log(1 + np.exp(-1.0)) + 0.75 * 4 * kl
    assert module.loss((torch.ones(1, 1), torch.tensor([0]))).item() == pytest.approx(expected, rel=1e-6)


def test_gradients_reach_the_student_alone_and_vanish_where_it_equals_its_teacher():
    student, teacher = linear([[1.0, 2.0], [0.0, -1.0]]), linear([[1.0, 2.0], [0.0, -1.0]])
    module = Classifier(student, RECIPE, distillation=Distillation(teacher, Distill(1.0, 4.0, 0.0)))
    x = torch.tensor([[1.0, 2.0], [-1.0, 3.0]])
    module.loss((x, torch.tensor([0, 1]))).backward()
    assert student.weight.grad.abs().max() < 1e-6
    teacher.weight.data[0] += 1.0
    student.weight.grad = None
    module.loss((x, torch.tensor([0, 1]))).backward()
    assert student.weight.grad.abs().max() > 1e-2
    assert teacher.weight.grad is None
    assert not teacher.weight.requires_grad
    assert "teacher" not in " ".join([*module.state_dict(), *(name for name, _ in module.named_parameters())])


def test_similarities_by_a_loop():
    generator = np.random.default_rng(0)
    student, teacher = generator.normal(size=(5, 3, 2, 2)), generator.normal(size=(5, 7, 2, 2))

    def similarities(f: np.ndarray) -> np.ndarray:
        g = np.array([[(a * b).sum() for b in f] for a in f])
        return np.array([row / np.sqrt((row**2).sum()) for row in g])

    expected = ((similarities(student) - similarities(teacher)) ** 2).sum() / 25
    found = similarity_preserving(torch.tensor(student), torch.tensor(teacher))
    assert float(found) == pytest.approx(expected)


def test_attention_by_a_loop():
    generator = np.random.default_rng(1)
    blocks = [(generator.normal(size=(4, c, 3, 2)), generator.normal(size=(4, d, 3, 2))) for c, d in ((2, 5), (6, 6))]

    def attended(maps: np.ndarray) -> np.ndarray:
        a = np.array([[(maps[n, :, i, j] ** 2).mean() for i in range(3) for j in range(2)] for n in range(4)])
        return np.array([row / np.sqrt((row**2).sum()) for row in a])

    expected = sum(((attended(s) - attended(t)) ** 2).mean() for s, t in blocks)
    found = attention([(torch.tensor(s), torch.tensor(t)) for s, t in blocks])
    assert float(found) == pytest.approx(expected)


def test_attention_needs_maps():
    with pytest.raises(UsageError, match="use 'sp'"):
        attention([(torch.ones(2, 3), torch.ones(2, 3))])


@pytest.mark.parametrize(
    ("method", "followed"),
    [
        ("magnitude@finetune", [False, True]),
        ("magnitude@imp(rate=0.5)", [False, True, True]),
        ("magnitude@init", [True]),
        ("magnitude@gmp", [True]),
        ("rigl", [True]),
        ("small_dense", [True]),
        ("magnitude@finetune+reinit", [False, True]),
    ],
)
def test_every_training_from_the_first_pruning_on_is_distilled(method, followed):
    for order in (f"{method}+kd", method.replace("+reinit", "+kd+reinit") if "reinit" in method else f"{method}+kd"):
        trainings = [phase for phase in parse(order).phases(0.75) if isinstance(phase, Train)]
        assert [bool(training.distill) for training in trainings] == followed
        assert {t.distill for t in trainings if t.distill} == {Distill(0.9, 4.0, 0.1)}


def test_without_it_a_training_is_described_as_before():
    assert describe(Train()) == {"phase": "Train", "epochs": 1.0, "rate": None, "pruner": None, "until": 1.0}
    followed = Train(distill=Distill(0.9, 4.0, 0.1))
    assert phase_of(describe(followed)) == followed


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("dense+kd", "trains nothing after it pruned"),
        ("magnitude@oneshot+kd", "trains nothing after it pruned"),
        ("magnitude+kd(alpha=1.5)", "alpha=1.5"),
        ("magnitude+kd(temperature=0)", "temperature=0"),
        ("magnitude+kd(temperature='hot')", "is not a number"),
        ("magnitude+kd(gamma=-1.0)", "gamma=-1.0"),
        ("magnitude+kd(feature='pkt',beta=1.0)", "'pkt'"),
        ("magnitude+kd(feature='sp')", "needs a weight"),
        ("magnitude+kd(beta=3.0)", "a weight a loss"),
        ("magnitude+kd(alpha=0.0,gamma=0.0)", "no loss"),
    ],
)
def test_what_makes_no_sense_is_refused(text, why):
    with pytest.raises(UsageError, match=why):
        parse(text)


def test_the_teacher_is_the_dense_stage():
    board = tiny_board("magnitude@finetune+kd", "magnitude@init+kd", "magnitude@init+kd(alpha=0.0)")
    whole = plan(board.cells)
    by_name = {cell.method.name: whole.chains[cell.id] for cell in board.cells}
    (dense,) = by_name["dense"]
    *_, retrained = (whole.stages[name] for name in by_name["magnitude@finetune+kd"])
    assert (retrained.teacher, retrained.parents) == (dense, (dense,))
    (apart,) = (whole.stages[name] for name in by_name["magnitude@init+kd"])
    assert (apart.teacher, apart.parent, apart.parents) == (dense, None, (dense,))
    assert whole.stages[by_name["magnitude@init+kd(alpha=0.0)"][0]].teacher is None
    alone = [cell for cell in board.cells if cell.method.name == "magnitude@init+kd"]
    needed = plan([*(c for c in board.cells if c.method.is_dense), *alone]).needed([], [alone[0].id])
    assert needed == [dense]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A board with and without teachers on a perceptron."""
    board = tiny_board("magnitude@finetune", "magnitude@finetune+kd(alpha=0.0)", "magnitude@init+kd", SP)
    folder = tmp_path_factory.mktemp("kd")
    result = run_inline(board, folder)
    assert not result.failed
    return board, result, folder


def last_stage(board, folder, name: str) -> dict:
    cell = next(cell for cell in board.cells if cell.method.name == name)
    return Store(folder).stage_report(plan(board.cells).chains[cell.id][-1])


def test_no_weight_on_the_teacher_changes_nothing(run):
    board, _, folder = run
    plain, followed = (last_stage(board, folder, f"magnitude@finetune{kd}") for kd in ("", "+kd(alpha=0.0)"))
    assert (plain["final_digest"], plain["losses"]) == (followed["final_digest"], followed["losses"])
    assert last_stage(board, folder, SP)["final_digest"] != plain["final_digest"]


def test_the_teacher_costs_its_training_and_a_forward_pass(run):
    _, result, _ = run
    records = {r.cell["method"]: r.data for r in result.records.values()}
    dense, plain, apart, sp = (
        records[name]["cost"] for name in ("dense", "magnitude@finetune", "magnitude@init+kd", SP)
    )
    assert (apart["epochs"], apart["teacher_epochs"], apart["own_epochs"], apart["trainings"]) == (6, 3, 3, 1)
    assert apart["train_flops"] == pytest.approx(dense["train_flops"] * (1 + 1 + 2 / 6))
    assert "teacher_epochs" not in sp
    assert sp["epochs"] == plain["epochs"]
    retraining = plain["train_flops"] - dense["train_flops"]
    assert sp["train_flops"] == pytest.approx(plain["train_flops"] + retraining / 3)


def test_records_verify_and_lead_back_to_their_cells(run):
    board, result, folder = run
    report = verify(folder)
    assert failed(report) == set()
    assert report.stages == len(plan(board.cells).stages)
    for cell in board.cells:
        assert cell_of(result.records[cell.id].data).id == cell.id
        assert result.records[cell.id].audit_passed
    said = next(r for r in result.records.values() if r.cell["method"] == SP).data["fingerprint"]
    assert "10 sp" in said["teacher"]
    assert said["modifiers"][0][0] == "kd"
    assert "teacher" not in next(r for r in result.records.values() if r.cell["method"] == "dense").data["fingerprint"]


def test_verify_misses_a_teacher(run, tmp_path):
    board, _, folder = run
    copy = shutil.copytree(folder, tmp_path / "store")
    stage = last_stage(board, folder, "magnitude@init+kd")["id"]
    path = copy / "stages" / stage / "stage.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "teacher": None}))
    assert failed(verify(copy)) == {"chain"}


def test_the_teacher_stays_as_it_was(tmp_path, monkeypatch):
    """With batch norm, whose statistics a teacher in training mode would move; feature maps of fewer channels."""
    seen = []

    def watched(phase, state, *others):
        found = original(phase, state, *others)
        if found:
            seen.append((found.teacher, state_digest(found.teacher)))
        return found

    original = perform.distillation_of
    monkeypatch.setattr(perform, "distillation_of", watched)
    board = tiny_board(AT, task=RESNET)
    result = run_inline(board, tmp_path)
    assert not result.failed
    assert len(seen) == 1
    teacher, before = seen[0]
    assert state_digest(teacher) == before == last_stage(board, tmp_path, "dense")["final_digest"]
    assert not any(module.training or module._forward_hooks for module in teacher.modules())


@pytest.mark.parametrize(("method", "task"), [("magnitude@gmp+kd+unbalanced", MLP), (AT, RESNET)])
def test_killed_and_resumed_equals_uninterrupted(method, task, tmp_path, monkeypatch):
    board = tiny_board(method, task=task.replace("epochs: 3", "epochs: 2"))
    board = replace(board, methods=tuple(parse(m.name, {"finetune": {"epochs": 1.0}}) for m in board.methods))
    assert not run_inline(board, tmp_path / "whole").failed
    _, kills = run_killed(board, tmp_path / "killed", monkeypatch, 6)
    assert kills == 4  # after either epoch of the dense network, and of the student
    one, two = Store(tmp_path / "whole"), Store(tmp_path / "killed")
    for stage in plan(board.cells).stages:
        a, b = one.stage_report(stage), two.stage_report(stage)
        assert (a["final_digest"], a["losses"]) == (b["final_digest"], b["losses"])


def test_several_steps_at_once_are_those_of_one_a_batch(tmp_path, monkeypatch):
    board = tiny_board(SP)
    several = run_inline(board, tmp_path / "several")

    def one_by_one(*arguments, several, **options):
        return Classifier(*arguments, several=False, **options)

    monkeypatch.setattr(training, "Classifier", one_by_one)
    single = run_inline(board, tmp_path / "single")
    for cell in board.cells:
        assert several.records[cell.id].data["curves"] == single.records[cell.id].data["curves"]


def test_smoothed_labels_stay_smoothed():
    student, teacher = linear([[1.0], [0.0]]), linear([[2.0], [0.0]])
    smooth = replace(RECIPE, label_smoothing=0.2)
    module = Classifier(student, smooth, distillation=Distillation(teacher, Distill(0.0, 4.0, 1.0)))
    batch = (torch.ones(3, 1), torch.tensor([0, 1, 0]))
    assert torch.equal(module.loss(batch), cross_entropy(student(batch[0]), batch[1], label_smoothing=0.2))
