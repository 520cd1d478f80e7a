"""Networks loaded again from the store: in the shape measured, in the dense shape, and in every form to be timed."""

from __future__ import annotations

import json

import pytest
import torch

from sparsebench.cli import main
from sparsebench.export import load
from sparsebench.grid.forms import forms
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.load import load_cell
from sparsebench.grid.state import logits
from sparsebench.grid.store import Store
from sparsebench.metrics.flops import macs
from sparsebench.models import build
from tests.grid.conftest import RESNET, run_inline, tiny_board

METHODS = ["l1@finetune", "magnitude@finetune", "magnitude/2:4@finetune", "small_dense"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """One cell of every kind: the store and the records by method."""
    store = tmp_path_factory.mktemp("store")
    result = run_inline(tiny_board(*METHODS, sparsities=(0.5,), task=RESNET), store)
    assert not result.failed
    return store, {record.cell["method"]: record.data for record in result.records.values()}


@pytest.mark.parametrize("method", METHODS)
def test_a_network_predicts_in_every_shape_as_it_did_when_measured(method, ran):
    store, records = ran
    stored = load_cell(records[method], Store(store), Hardware())
    for net, masks in (stored.as_measured, stored.in_full):
        z, y = logits(net, stored.data.test_dataloader())
        assert float((z.argmax(1) == y).double().mean()) == pytest.approx(records[method]["metrics"]["top1"])
        params = dict(net.named_parameters())
        assert all(not params[name][~mask].any() for name, mask in masks.items())
    if method == "l1@finetune":
        full = stored.in_full[0].state_dict()
        assert {n: t.shape for n, t in full.items()} == {n: t.shape for n, t in stored.whole.state_dict().items()}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("l1@finetune", {"dense", "masked", "csr", "shrunk"}),
        ("magnitude@finetune", {"dense", "masked", "csr", "shrunk"}),
        ("magnitude/2:4@finetune", {"dense", "masked", "csr", "shrunk"}),
        ("small_dense", {"dense", "shrunk"}),
        ("dense", {"dense"}),
    ],
)
def test_every_form_of_a_cell_is_there_or_says_why_not(method, expected, ran):
    store, records = ran
    stored = load_cell(records[method], Store(store), Hardware())
    found = forms(stored, records[method]["sparsity"]["achieved"])
    assert set(found.networks) >= expected - set(found.missing)
    assert set(found.networks) - {"csr", "2:4"} == expected - {"csr"}
    assert "2:4" in found.missing or torch.cuda.is_available()
    work = {name: macs(net, (1, 8, 8)).dense for name, net in found.networks.items() if name in ("dense", "shrunk")}
    assert work["dense"] == records["dense"]["flops"]["dense"]
    assert "shrunk" not in work or work["shrunk"] < work["dense"]


def test_without_units_to_spare_there_is_no_shrunk_form(ran):
    store, records = ran
    stored = load_cell(records["magnitude@finetune"], Store(store), Hardware())
    assert "the highest sparsity that whole units reach" in forms(stored, 0.999).missing["shrunk"]


@pytest.mark.parametrize("method", ["l1@finetune", "magnitude@finetune"])
def test_exported_weights_load_into_the_dense_network(method, ran, tmp_path, monkeypatch, capsys):
    store, records = ran
    record = records[method]
    monkeypatch.chdir(tmp_path)
    options = [record["cell_id"], "--store", str(store)]
    for name in ("net.pt", "net.safetensors", "net.onnx"):
        assert main(["export", *options, "--to", name]) == 0
    assert "within" in capsys.readouterr().out
    stored = load_cell(record, Store(store), Hardware())
    state, masks, about = load("net.safetensors")
    assert about["method"] == method
    assert (about["network"], about["network_arguments"]) == ("resnet8", {"width": 4})
    for weights in (state, torch.load("net.pt", weights_only=True)):
        net = build(about["network"], (1, 8, 8), 10, **about["network_arguments"])
        net.load_state_dict(weights)
        z, y = logits(net, stored.data.test_dataloader())
        assert float((z.argmax(1) == y).double().mean()) == pytest.approx(record["metrics"]["top1"])
    kept = sum(int(masks[name].sum()) for name in record["sparsity"]["layers"])
    assert kept == record["sparsity"]["kept"]


def test_latency_prints_theoretical_beside_measured(ran, tmp_path, monkeypatch, capsys):
    store, records = ran
    record = records["l1@finetune"]
    monkeypatch.chdir(tmp_path)
    command = ["latency", record["cell_id"], "--store", str(store), "--batch-sizes", "4", "--repeats", "2"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "| measured | theoretical |" in printed
    assert main([*command, "--json"]) == 0
    rows = {row["network"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["shrunk"]["theoretical"] == pytest.approx(record["flops"]["speedup"])
    assert rows["masked"]["theoretical"] == pytest.approx(record["flops"]["speedup"])
    assert rows["dense"]["theoretical"] == rows["dense"]["speedup"] == 1
