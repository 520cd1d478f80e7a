"""Data pruning as a board's axis: what is planned, shared, trained on, resumed, recomputed and verified."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import sparsebench.grid.forgets as forgets
import sparsebench.grid.training as training
from sparsebench.agreement import differences
from sparsebench.errors import SparsebenchError, UsageError
from sparsebench.grid.board import Board, from_text
from sparsebench.grid.diet import on_diet
from sparsebench.grid.example_scores import run_scoring
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context, dependencies
from sparsebench.grid.plan import plan, scores_name
from sparsebench.grid.rerun import cell_of, recompute
from sparsebench.grid.stages import task_data
from sparsebench.grid.state import initial_net
from sparsebench.grid.store import Store
from sparsebench.methods import parse
from sparsebench.phases import Train
from sparsebench.registry import example_score
from sparsebench.tasks import from_settings
from sparsebench.verify import verify
from tests.grid.conftest import run_inline
from tests.grid.killing import run_killed

TEXT = """
name: diet
version: 1
title: Parts of the digits
tasks:
  - base: digits-mlp
    name: tiny
    network_arguments: {{hidden: [16, 12]}}
    recipe: {{epochs: 3}}
methods: [dense{methods}]
sparsities: [0.5]
seeds: [{seeds}]
{diet}
"""
ARMS = "[random, input_norm, {score: el2n, epoch: 1, runs: 2}, {score: grand, epoch: 1, runs: 2}, \
{score: forgetting, runs: 2, budget: epochs}, {score: grand, epoch: 0, runs: 2, keep: [0.3]}]"


def board(diet: str = ARMS, keep: str = "[1.0, 0.4]", methods: str = "", seeds: str = "0") -> Board:
    both = f"data_keep: {keep}\ndiet: {diet}" if diet else ""
    return from_text(TEXT.format(methods=methods, seeds=seeds, diet=both), "diet.yaml")


SMALL = board("[random, {score: el2n, epoch: 1, runs: 2}, {score: forgetting, runs: 2, budget: epochs}]",
              methods=", magnitude@finetune")  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """A store in which the small board is finished; not to be changed."""
    store = tmp_path_factory.mktemp("diet") / "store"
    assert not run_inline(SMALL, store).failed
    return store


def task_named(which: Board, part: str):
    return next(t for t in which.tasks if part in t.name)


def record(store: Path, part: str, method: str = "dense") -> dict:
    for path in (store / "records").glob("*.json"):
        data = json.loads(path.read_text())
        if part in data["cell"]["task"] and data["cell"]["method"] == method:
            return data
    raise LookupError(part)


def test_a_task_more_for_every_way_and_share():
    names = [t.name for t in board(keep="[0.4, 1.0, 0.2]").tasks]
    assert names == [
        "tiny", "tiny~random~0.4", "tiny~random~0.2", "tiny~input_norm~0.4", "tiny~input_norm~0.2",
        "tiny~el2n@1-runs2~0.4", "tiny~el2n@1-runs2~0.2", "tiny~grand@1-runs2~0.4", "tiny~grand@1-runs2~0.2",
        "tiny~forgetting@3-runs2-epochs~0.4", "tiny~forgetting@3-runs2-epochs~0.2", "tiny~grand@0-runs2~0.3",
    ]  # fmt: skip
    assert [t.name for t in board("[random]", "[0.5]").tasks] == ["tiny~random~0.5"]


def test_settings_come_back_from_a_record():
    for t in board().tasks:
        assert from_settings(json.loads(json.dumps(t.settings()))) == t


def test_cells_on_all_images_keep_their_names():
    with_diets, without = board(methods=", magnitude@imp"), board("", methods=", magnitude@imp")
    assert {c.id for c in without.cells} <= {c.id for c in with_diets.cells}
    assert set(plan(without.cells).stages) <= set(plan(with_diets.cells).stages)
    assert "diet" not in without.tasks[0].settings()


def test_scoring_networks_are_shared():
    """Two networks for el2n@1 and grand@1, two for forgetting; none for the others."""
    for keep in ("[1.0, 0.4]", "[1.0, 0.4, 0.2]"):
        whole = plan(board(keep=keep, seeds="0, 1").cells)
        scoring = {s.scoring.arm: s for s in whole.stages.values() if s.scoring}
        assert set(scoring) == {
            "input_norm", "el2n@1-runs2", "grand@1-runs2", "forgetting@3-runs2-epochs", "grand@0-runs2",
        }  # fmt: skip
        networks = {name: s.networks for name, s in scoring.items()}
        assert networks["input_norm"] == networks["grand@0-runs2"] == ()
        assert networks["el2n@1-runs2"] == networks["grand@1-runs2"]
        assert not set(networks["el2n@1-runs2"]) & set(networks["forgetting@3-runs2-epochs"])
        asked = [whole.stages[n] for n in networks["el2n@1-runs2"]]
        assert [(s.seed, s.phases) for s in asked] == [(1000 + r, (Train(until=1 / 3),)) for r in range(2)]
        assert all(s.task == s.task.whole and s.task.name == "tiny" for s in asked)
        cells = 2 * (1 + 5 * (1 if keep == "[1.0, 0.4]" else 2) + 1)
        assert (len(whole.cells), whole.trainings) == (cells, cells + 4)
        assert len(whole.stages) == cells + 4 + 5


def test_networks_scored_at_the_end_are_ordinary_dense_ones():
    scored, dense = board("[{score: el2n, epoch: 3, runs: 1}]"), board("", seeds="1000")
    networks = [s.networks for s in plan(scored.cells).stages.values() if s.scoring]
    assert networks == [tuple(plan(dense.cells).stages)]


def test_parents_come_first_and_every_stage_waits_for_its_scores():
    which = board(methods=", magnitude@imp(rewind=0.34)")
    whole = plan(which.cells)
    order = list(whole.stages)
    for stage in whole.stages.values():
        assert all(order.index(parent) < order.index(stage.id) for parent in stage.parents)
        if stage.task.diet:
            assert stage.scores == scores_name(stage.task)
            assert (stage.scores is None) == (stage.task.diet.score == "random")
            assert stage.scores is None or stage.scores in stage.parents
    _, waits = dependencies(whole, order, list(whole.cells))
    assert all(set(whole.stages[name].parents) == waits[name] for name in order)


def test_scores_that_are_lost_are_computed_again_for_a_cell_whose_networks_are_there():
    whole = plan(SMALL.cells)
    cell = next(c.id for c in whole.cells.values() if "el2n" in c.task.name)
    scores = whole.scores_of(cell)
    others = set(whole.cells) - {cell}
    assert whole.needed(set(whole.stages) - {scores}, others) == [scores]
    _, waits = dependencies(whole, [scores], [cell])
    assert waits[f"cell:{cell}"] == {scores}


def test_no_network_scores_the_images_it_is_trained_on():
    with pytest.raises(UsageError, match="seed 1001 is that of a network which scores"):
        board(seeds="0, 1001")


@pytest.mark.parametrize(
    ("diet", "words"),
    [
        ("diet: [random]", "line 12: diet needs data_keep"),
        ("data_keep: [0.5]", "line 12: data_keep needs diet"),
        ("data_keep: [0.5]\ndiet: [el3n]", "line 13: diet: unknown example_score 'el3n'"),
        ("data_keep: [0.5]\ndiet: [{score: random, tasks: [tin]}]", "line 13: diet: unknown task 'tin'"),
    ],
)
def test_a_mistake_names_its_line(diet, words):
    with pytest.raises(UsageError, match=words):
        from_text(TEXT.format(methods="", seeds="0", diet=diet).replace("\n", "", 1), "diet.yaml")


def test_every_rule_holds_and_counts_are_exact(done):
    records = [json.loads(path.read_text()) for path in (done / "records").glob("*.json")]
    assert len(records) == 8
    for data in records:
        assert all(rule["passed"] for rule in data["audit"]), data["audit"]
        facts = data.get("diet")
        assert bool(facts) == ("~" in data["cell"]["task"])
        stage = json.loads((done / "stages" / data["parents"][0] / "stage.json").read_text())
        steps = 3 * 9 if not facts or facts["epoch_images"] == 1197 else 3 * 3
        assert (stage["steps"], stage["images"]) == (steps, steps * 128)
        if facts:
            assert (facts["kept"], facts["of"], sum(facts["per_class"])) == (479, 1197, 479)
            assert facts["epoch_images"] == (479 if "epochs" in data["cell"]["task"] else 1197)
    digests = {data["provenance"]["data_digest"] for data in records}
    assert len(digests) == 4


def test_scores_are_those_of_the_networks_and_choose_the_images(done):
    """By hand: networks from the store, logits, distance to the label, mean, the 479 largest."""
    task = task_named(SMALL, "el2n")
    store, data = Store(done), task_data(task.whole, Hardware())
    stage = plan(SMALL.cells).stages[scores_name(task)]
    x, y = (torch.cat(parts) for parts in zip(*data.in_order(), strict=True))
    runs = []
    for name in stage.networks:
        net = initial_net(task, 0, data.input_shape, 10).eval()
        net.load_state_dict(load_file(store.stage(name) / "weights.safetensors"))
        p = net(x).softmax(1).detach()
        runs.append((p - torch.eye(10)[y]).square().sum(1).sqrt())
    stored = load_file(store.stage(stage.id) / "scores.safetensors")
    torch.testing.assert_close(stored["runs"], torch.stack(runs), rtol=1e-4, atol=1e-6)
    hardest = data.train_positions[stored["runs"].double().mean(0).topk(479).indices].sort().values
    part = on_diet(task, 0, store, data)
    assert torch.equal(part.train_positions, hardest)
    assert record(done, "el2n")["diet"]["networks"] == 2
    assert record(done, "el2n")["diet"]["epochs"] == 2


def test_draws_are_paired_by_seed_and_nested():
    small, large = (board("[random]", f"[{keep}]").tasks[0] for keep in (0.3, 0.5))
    data = task_data(small.whole, Hardware())
    parts = {(t.diet.keep, s): on_diet(t, s, None, data) for t in (small, large) for s in (0, 1)}
    kept = {which: set(part.train_positions.tolist()) for which, part in parts.items()}
    assert kept[0.3, 0] < kept[0.5, 0]
    assert kept[0.3, 1] < kept[0.5, 1]
    assert kept[0.5, 0] != kept[0.5, 1]
    assert 0.15 * 1197 < len(kept[0.5, 0] & kept[0.5, 1]) < 0.35 * 1197


def test_forgetting_is_what_the_training_saw(tmp_path, monkeypatch):
    """Against a spy on the batches that the training was handed."""
    history: list[tuple[torch.Tensor, torch.Tensor]] = []
    original = training.Classifier.loss

    def spy(self, batch):
        with torch.no_grad():
            history.append((batch[0].clone(), self(batch[0]).argmax(1) == batch[1]))
        return original(self, batch)

    counted = []
    noted = forgets.ForgettingEvents._note

    def once(self, net, inputs, logits):  # the spy's own forward passes are not the training's
        if logits.requires_grad:
            noted(self, net, inputs, logits)

    monkeypatch.setattr(training.Classifier, "loss", spy)
    monkeypatch.setattr(forgets.ForgettingEvents, "_note", once)
    monkeypatch.setattr(
        forgets.ForgettingEvents, "on_train_end", lambda self, *_: counted.append(self.count.scores()), raising=False
    )
    result = run_inline(board("[{score: forgetting, runs: 1}]", "[0.5]"), tmp_path / "store")
    assert not result.failed
    data = task_data(SMALL.tasks[0], Hardware())
    index = {image.numpy().tobytes(): i for i, image in enumerate(torch.cat([x for x, _ in data.in_order()]))}
    before, events = {}, np.zeros(1197)
    for x, right in history[: 3 * 9]:
        for image, now in zip(x, right.tolist(), strict=True):
            i = index[image.numpy().tobytes()]
            events[i] += before.get(i, False) and not now
            before[i] = now
    finite = counted[0].isfinite().numpy()
    assert events[finite].sum() > 0
    assert np.array_equal(counted[0].numpy()[finite], events[finite])
    assert 0 < (~finite).sum() < 600


def test_networks_are_scored_in_evaluation_mode_and_left_as_they_were(done, tmp_path, monkeypatch):
    shutil.copytree(done, tmp_path / "store")
    stage, store, seen = plan(SMALL.cells).stages[scores_name(task_named(SMALL, "el2n"))], Store(tmp_path / "store"), []

    def spy(net, x, y):
        seen.append((net.training, x.dtype, next(net.parameters()).dtype))
        return x.flatten(1).sum(1)

    monkeypatch.setitem(example_score._live, "el2n", spy)
    run_scoring(stage, store, Hardware())
    assert set(seen) == {(False, torch.float32, torch.float32)}
    assert torch.equal(*load_file(store.stage(stage.id) / "scores.safetensors")["runs"])

    def careless(net, x, y):
        with torch.no_grad():
            next(net.parameters()).add_(1)
        return x.flatten(1).sum(1)

    monkeypatch.setitem(example_score._live, "el2n", careless)
    with pytest.raises(SparsebenchError, match="el2n changes the network"):
        run_scoring(stage, store, Hardware())


def test_killed_and_resumed_equals_uninterrupted(done, tmp_path, monkeypatch):
    _, kills = run_killed(SMALL, tmp_path / "killed", monkeypatch, 60)
    assert kills > 10
    one, two = Store(done), Store(tmp_path / "killed")
    for stage in plan(SMALL.cells).stages:
        assert one.stage_report(stage)["files"] == two.stage_report(stage)["files"]
    for cell in SMALL.cells:
        assert not differences(one.record(cell.id).data, two.record(cell.id).data)


def test_a_record_is_recomputed_with_its_scores(done, tmp_path):
    first = record(done, "el2n", "magnitude@finetune")
    context = Context(str(tmp_path / "again"), Hardware(), "test")
    again = recompute(cell_of(first), context, launcher="inline").data
    assert not differences(first, again)
    assert first["diet"] == again["diet"]
    assert (tmp_path / "again" / "stages" / first["diet"]["scores"] / "scores.safetensors").exists()


def test_a_sound_store_is_verified(done):
    report = verify(done, measure=True)
    assert not report.failures, report.failures
    assert report.counts["digests"] == (len(list((done / "stages").iterdir())), 0)


def exchange_scores(store: Path) -> None:
    """Others' scores in the place of some, with the digest of the file put right."""
    from hashlib import sha256

    for path in (store / "stages").glob("*/stage.json"):
        report = json.loads(path.read_text())
        if (report.get("scoring") or {}).get("score") == "el2n":
            file = path.parent / "scores.safetensors"
            tensors = load_file(file)
            save_file({**tensors, "runs": -tensors["runs"]}, file)
            report["files"][file.name] = sha256(file.read_bytes()).hexdigest()
            path.write_text(json.dumps(report))


def damage_scores(store: Path) -> None:
    path = store / "stages" / record(store, "el2n")["diet"]["scores"] / "scores.safetensors"
    path.write_bytes(path.read_bytes()[:-8] + b"\0" * 8)


def drop_a_network(store: Path) -> None:
    scores = json.loads((store / "stages" / record(store, "el2n")["diet"]["scores"] / "stage.json").read_text())
    shutil.rmtree(store / "stages" / scores["scoring"]["networks"][0])


def rename_the_scoring(store: Path) -> None:
    path = store / "stages" / record(store, "el2n")["diet"]["scores"] / "stage.json"
    report = json.loads(path.read_text())
    path.write_text(json.dumps({**report, "scoring": {**report["scoring"], "score": "grand"}}))


@pytest.mark.parametrize(
    ("tamper", "rules"),
    [
        (exchange_scores, {"arithmetic", "measure"}),
        (damage_scores, {"digests"}),
        (drop_a_network, {"chain"}),
        (rename_the_scoring, {"chain"}),
    ],
)
def test_tampering_with_scores_is_noticed(done, tmp_path, tamper, rules):
    shutil.copytree(done, tmp_path / "store")
    tamper(tmp_path / "store")
    found = {check.rule for check in verify(tmp_path / "store", measure=tamper is exchange_scores).failures}
    assert found == rules


def test_damaged_scores_are_set_aside_and_computed_again(done, tmp_path):
    shutil.copytree(done, tmp_path / "store")
    damage_scores(tmp_path / "store")
    cell = next(c for c in SMALL.cells if "el2n" in c.task.name and c.method == parse("dense"))
    (tmp_path / "store" / "records" / f"{cell.id}.json").unlink()
    result = run_inline(SMALL, tmp_path / "store")
    assert not result.failed
    assert "is damaged; set aside" in result.notes[0]
    assert not differences(Store(done).record(cell.id).data, result.records[cell.id].data)
