"""Verify on stored networks: digests, masks, weights, nesting and measuring; files may hold anything."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.metrics.bias import bias
from sparsebench.models import build
from sparsebench.verify import records, stages, verify
from tests.grid.tampering import (
    FIRST,
    World,
    edit,
    edit_masks,
    edit_stage,
    edit_weights,
    failed,
    made,
    put,
    sign,
    world,
)

__all__ = ["made", "world"]


def flip_a_byte(world: World) -> None:
    path = world.stage("rigl") / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def swap_weights(world: World) -> None:
    """Digests of files are made to fit; that of the loaded weights is not."""
    first, second = world.stage("snip@init+shuffle", 0.5), world.stage("snip@init+shuffle", 0.75)
    weights = (first / "weights.safetensors").read_bytes()
    shutil.copy(second / "weights.safetensors", first / "weights.safetensors")
    (second / "weights.safetensors").write_bytes(weights)
    sign(first)
    sign(second)


def cut(world: World, file: str) -> None:
    path = world.stage("rigl") / file
    path.write_bytes(path.read_bytes()[:100])
    sign(world.stage("rigl"))


def unfinished_optimizer(world: World) -> None:
    point = json.loads((world.stage("magnitude@imp(rewind=0.34)") / "stage.json").read_text())["rewind_point"]
    (world.store / "stages" / point / "optimizer.safetensors").unlink()


def unlisted_optimizer(world: World) -> None:
    point = json.loads((world.stage("magnitude@imp(rewind=0.34)") / "stage.json").read_text())["rewind_point"]
    edit_stage(world.store / "stages" / point, lambda report: report["files"].pop("optimizer.safetensors"))


@pytest.mark.parametrize(
    "tamper",
    [
        unlisted_optimizer,
        flip_a_byte,
        swap_weights,
        unfinished_optimizer,
        lambda w: cut(w, "weights.safetensors"),
        lambda w: cut(w, "masks.safetensors"),
        lambda w: (w.stage("rigl") / "masks.safetensors").unlink(),
        lambda w: edit_stage(w.stage("rigl"), put("files", "../../../secret", "0")),
        lambda w: edit_stage(w.stage("rigl"), lambda report: report["files"].pop("weights.safetensors")),
        lambda w: edit_stage(w.stage("rigl"), put("final_digest", "0")),
        lambda w: edit_stage(w.stage("small_dense"), put("network_arguments", {"hidden": "wide"})),
    ],
)
def test_digests(tamper, world):
    tamper(world)
    assert world.verify() == {"digests"}


def one_more(masks: dict) -> None:
    masks[FIRST].view(-1)[(~masks[FIRST]).flatten().nonzero()[0]] = True


def to_another_group(masks: dict) -> None:
    """Keep as many of a row, but three of one group of four and one of the next."""
    row = masks[FIRST][0]
    row[(~row[:4]).nonzero()[0]] = True
    row[4 + row[4:8].nonzero()[0]] = False


def masks_of_nothing(world: World) -> None:
    folder = world.stage("dense")
    Masks.dense(build("mlp", (1, 8, 8), 10, hidden=[16, 12])).save(folder / "masks.safetensors")
    edit_stage(folder, put("files", "masks.safetensors", "0"))
    sign(folder)


def move_one_kept(data: dict) -> None:
    first, second = list(data["sparsity"]["layers"].values())[:2]
    first["kept"], second["kept"] = first["kept"] - 1, second["kept"] + 1


@pytest.mark.parametrize(
    "tamper",
    [
        masks_of_nothing,
        lambda w: edit_masks(w.stage("rigl"), one_more),
        lambda w: edit_masks(w.stage("rigl"), lambda masks: masks.pop(FIRST)),
        lambda w: edit_masks(w.stage("rigl"), lambda m: m.update({"fc1.bias": torch.ones(16, dtype=torch.bool)})),
        lambda w: edit_masks(w.stage("wanda/2:4@oneshot"), to_another_group),
        lambda w: edit_masks(w.stage("l1@finetune"), one_more, "structure"),
        lambda w: edit_stage(w.stage("small_dense"), put("network_arguments", {})),
        lambda w: edit(w.record("magnitude@imp"), move_one_kept),
        lambda w: edit(w.record("dense"), put("sparsity", "total", 10_000)),
    ],
)
def test_masks(tamper, world):
    tamper(world)
    assert world.verify() == {"masks"}


def revive(world: World) -> None:
    mask = Masks.load(world.stage("rigl") / "masks.safetensors")[FIRST]
    edit_weights(world.stage("rigl"), lambda weights: weights[FIRST].__setitem__(tuple((~mask).nonzero()[0]), 1e-30))


def a_row_of_zeros(world: World) -> None:
    edit_weights(world.stage("magnitude@imp"), lambda weights: weights[FIRST][0].zero_())


def another_width(world: World) -> None:
    """One neuron less than the units' masks keep."""

    def change(weights: dict) -> None:
        weights["fc1.weight"], weights["fc1.bias"] = weights["fc1.weight"][1:].clone(), weights["fc1.bias"][1:].clone()
        weights["fc2.weight"] = weights["fc2.weight"][:, 1:].clone()

    folder = world.stage("l1@finetune")
    edit_weights(folder, change)
    order = list(build("mlp", (1, 8, 8), 10, hidden=[16, 12]).state_dict())
    weights = load_file(folder / "weights.safetensors")
    digest = sha256(b"".join(name.encode() + weights[name].numpy().tobytes() for name in order)).hexdigest()
    edit_stage(folder, put("final_digest", digest))


@pytest.mark.parametrize(
    "tamper",
    [
        revive,
        a_row_of_zeros,
        another_width,
        lambda w: edit_weights(w.stage("rigl"), lambda weights: weights.update(mask=torch.ones(1))),
        lambda w: edit(w.record("l1@finetune"), lambda d: put("sparsity", "parameters", 1 + d["sparsity"]["kept"])(d)),
    ],
)
def test_weights(tamper, world):
    tamper(world)
    assert world.verify() == {"weights"}


def test_nesting(world):
    """A weight that was pruned on the first rung of imp is back on the second, in the place of another."""
    folder, before = world.stage("magnitude@imp", 0.75), world.stage("magnitude@imp", 0.5)
    outer = Masks.load(before / "masks.safetensors")[FIRST]
    inner = Masks.load(folder / "masks.safetensors")[FIRST]
    back, gone = tuple((~outer).nonzero()[0]), tuple(inner.nonzero()[0])

    def move(tensors: dict) -> None:
        tensors[FIRST][back], tensors[FIRST][gone] = tensors[FIRST][gone].clone(), tensors[FIRST][back].clone()

    edit_masks(folder, move)
    edit_weights(folder, move)
    assert world.verify() == {"nesting"}


def better_by_one(data: dict, dense: dict) -> None:
    """One hit more, with everything that follows from it."""
    counts = data["per_class"]
    worst = max(range(10), key=counts["fn"].__getitem__)
    counts["tp"][worst], counts["fn"][worst] = counts["tp"][worst] + 1, counts["fn"][worst] - 1
    counts["fp"] = [0] * 10
    data["metrics"] |= bias(counts, dense["per_class"])
    data["metrics"]["top1"] = sum(counts["tp"]) / 400
    data["metrics"]["worst_class"] = min(hit / n for hit, n in zip(counts["tp"], counts["n"], strict=True))


def test_measure(world):
    """A better accuracy that fits all other numbers is found out by measuring, and only by that."""
    dense = json.loads(world.record("dense").read_text())
    edit(world.record("str"), lambda data: better_by_one(data, dense))
    assert world.verify() == set()
    report = verify(world.store, measure=True)
    assert failed(report) == {"measure"}
    assert any(reason.startswith("measured top1 is") for check in report.failures for reason in check.reasons)


def test_measuring_elsewhere_allows_for_rounding_and_says_so(world):
    for path in (world.store / "records").iterdir():
        edit(path, put("provenance", "versions", "torch", "1.0"))
    edit(world.record("str"), lambda data: data["metrics"].update(nll=data["metrics"]["nll"] * 1.001))
    report = verify(world.store, measure=True)
    assert failed(report) == set()
    assert any("measured nll is" in note for note in report.notes), report.notes
    dense = json.loads(world.record("dense").read_text())
    edit(world.record("str"), lambda data: better_by_one(data, dense))
    assert world.verify(measure=True) == set()
    edit(world.record("str"), lambda data: data["metrics"].update(nll=data["metrics"]["nll"] * 1.1))
    assert world.verify(measure=True) == {"measure"}


def test_work_is_the_same_everywhere(world):
    def change(data: dict) -> None:
        data["provenance"]["hardware"] = "another"
        data["flops"].update(sparse=1, speedup=data["flops"]["dense"])

    edit(world.record("str"), change)
    assert world.verify() == set()
    assert world.verify(measure=True) == {"measure"}


def test_zeros_where_weights_grow_are_noted(world):
    edit_weights(world.stage("rigl"), lambda weights: weights[FIRST][0].zero_())
    report = verify(world.store)
    assert failed(report) == set()
    assert any("1 networks have kept weights that are 0" in note for note in report.notes)


def test_methods_of_a_file_that_is_not_at_hand(world, monkeypatch):
    """Neither the name of a method nor whether its criterion takes out units can be told then."""
    monkeypatch.setattr(stages, "criterion", SimpleNamespace(entries={}))

    def unknown(*_):
        raise UsageError("unknown method")

    monkeypatch.setattr(records, "parse", unknown)
    report = verify(world.store)
    assert failed(report) == set()
    assert any("16 records have a method of a user's file" in note for note in report.notes)
    (world.stage("l1@finetune") / "structure.safetensors").unlink()
    assert world.verify() == {"digests"}


@pytest.mark.parametrize("junk", [None, 1, "x", [], {}, [[]], {"x": {}}])
def test_no_value_of_another_form_goes_unnoticed_or_stops_the_others(junk, world, tmp_path):
    """Every field of a record and of ``stage.json`` in turn holds something else: reported, never an error."""
    small = World(tmp_path / "small")
    for method in ("dense", "snip@init+shuffle"):
        path, stage = world.record(method), world.stage(method)
        shutil.copytree(stage, small.store / "stages" / stage.name)
        (small.store / "records").mkdir(exist_ok=True)
        shutil.copy(path, small.store / "records")
    assert small.verify() == set()
    path, stage = small.record("snip@init+shuffle"), small.stage("snip@init+shuffle") / "stage.json"
    for file, ignored in ((path, RECORD_FREE), (stage, STAGE_FREE)):
        original = file.read_text()
        for key, value in json.loads(original).items():
            if key in ignored or value == junk:
                continue
            edit(file, put(key, junk), sign=False)
            if file == path:
                data = json.loads(file.read_text())
                file.write_text(json.dumps({**data, "digest": digest_of(data)}))
            assert small.verify(), f"{key} = {junk!r} in {file.name}"
        file.write_text(original)


RECORD_FREE = {"board", "board_version", "error", "digest", "recalibrated"}
STAGE_FREE = {"label", "seconds", "wall_seconds", "score_seconds", "recalibrated", "initial_digest", "score_passes"}


def digest_of(data: dict) -> str:
    rest = {key: value for key, value in data.items() if key != "digest"}
    return sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
