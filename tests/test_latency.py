"""Latency: what is timed, what is promised, and what is said where a kernel is missing."""

from __future__ import annotations

import time
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sparsebench import latency as module
from sparsebench.errors import UsageError
from sparsebench.functional import prune
from sparsebench.latency import Variants, latency, render, variants
from sparsebench.masks import Masks
from sparsebench.metrics.flops import macs
from sparsebench.models import build
from tests.networks import NETWORKS, batches, network

FAST = {"repeats": 3, "seconds": 1e-4, "batch_sizes": (1,)}


class Slow(nn.Module):
    """Sleeps for a given number of milliseconds."""

    def __init__(self, ms: float, log: list | None = None):
        super().__init__()
        self.fc, self.ms, self.log = nn.Linear(2, 2), ms, log

    def forward(self, x):
        time.sleep(self.ms / 1000)
        if self.log is not None:
            self.log.append((self.ms, self.training, torch.is_grad_enabled(), torch.get_num_threads(), tuple(x.shape)))
        return self.fc(x)


def pruned(kind: str, method: str = "magnitude", sparsity: float = 0.9) -> tuple[nn.Module, Masks]:
    net = network(kind)
    copy = network(kind)
    return net, prune(copy, method, sparsity=sparsity)


@pytest.mark.parametrize("kind", NETWORKS)
def test_variants_compute_what_the_masked_network_computes(kind):
    net, masks = pruned(kind)
    before = {n: t.clone() for n, t in net.state_dict().items()}
    forms = variants(net, masks)
    expected = network(kind).eval()
    masks.apply(expected)
    x = batches()[0][0]
    with torch.no_grad():
        for name in set(forms.networks) - {"dense"}:
            torch.testing.assert_close(forms.networks[name](x), expected(x))
        assert torch.equal(forms.networks["dense"](x), net.eval()(x))
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())
    assert {"dense", "masked"} <= forms.networks.keys()
    assert forms.networks.keys() | forms.missing.keys() == {"dense", "masked", "2:4", "csr"}
    assert ("csr" in forms.networks) == (kind in ("mlp", "vit"))


def test_rows_hold_the_theoretical_speed_up_of_the_masks_and_of_the_smaller_network():
    net, masks = pruned("mlp")
    forms = variants(net, masks).networks
    small = build("mlp", (1, 8, 8), 10, hidden=(5, 5))
    rows = {row["network"]: row for row in latency(forms | {"shrunk": small}, (1, 8, 8), **FAST)}
    dense = macs(net, (1, 8, 8)).dense
    assert rows["dense"]["macs"] == dense
    assert rows["dense"]["theoretical"] == rows["dense"]["speedup"] == 1
    assert rows["masked"]["theoretical"] == pytest.approx(dense / masks.kept)
    assert rows["csr"]["macs"] == rows["masked"]["macs"] == masks.kept
    assert rows["shrunk"]["theoretical"] == pytest.approx(dense / (64 * 5 + 5 * 5 + 5 * 10))
    for row in rows.values():
        assert 0 < row["ms_q1"] <= row["ms"] <= row["ms_q3"]
        assert row["speedup"] == pytest.approx(rows["dense"]["ms"] / row["ms"])


def test_times_are_milliseconds_a_batch():
    rows = latency({"dense": Slow(20), "half": Slow(10)}, (2,), repeats=3, seconds=0.01, batch_sizes=(1,))
    assert 20 <= rows[0]["ms"] < 40
    assert 10 <= rows[1]["ms"] < rows[0]["ms"]
    assert 1.2 < rows[1]["speedup"] < 3


def test_networks_take_turns_in_evaluation_mode_without_gradients_and_modes_come_back():
    log: list = []
    nets = {"dense": Slow(1, log), "b": Slow(2, log), "c": Slow(3, log)}
    nets["b"].eval()
    threads = torch.get_num_threads()
    latency(nets, (2,), repeats=4, seconds=0, batch_sizes=(3,), threads=(2,))
    timed = [entry for entry in log if entry[-1] == (3, 2)]  # Not those that count multiply-accumulates.
    assert all(entry[1:4] == (False, False, 2) for entry in timed)
    # After the warm-up each network runs in every round, and another one begins.
    turns = [a for a, b in pairwise([entry[0] for entry in timed] + [None]) if a != b]
    assert turns == [1, 2, 3, 1, 2, 3, 2, 3, 1, 3, 1, 2, 1, 2, 3]
    assert (nets["dense"].training, nets["b"].training, torch.get_num_threads()) == (True, False, threads)


def test_every_batch_size_and_number_of_threads_has_its_rows():
    rows = latency({"dense": nn.Linear(2, 2)}, (2,), batch_sizes=(1, 4), threads=(1, 2), repeats=2, seconds=0)
    assert [(row["batch"], row["threads"]) for row in rows] == [(1, 1), (1, 2), (4, 1), (4, 2)]


def test_the_reasons_why_a_form_is_missing():
    missing = variants(*pruned("resnet8")).missing
    assert "CUDA" in missing["2:4"]
    assert "linear layers" in missing["csr"]


def test_only_linear_layers_with_two_of_four_inputs_go_to_the_sparse_tensor_cores(monkeypatch):
    monkeypatch.setattr(nn.Parameter, "device", SimpleNamespace(type="cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    monkeypatch.setattr(module, "_converted", lambda net, layers, convert: layers)
    net = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 8), nn.Linear(6, 4), nn.Conv2d(4, 4, 1)).half()
    masks = Masks(
        {
            "0.weight": torch.tensor([True, False, True, False]).repeat(4, 2),
            "1.weight": torch.tensor([True, True, True, False]).repeat(8, 1),
            "2.weight": torch.zeros(4, 6, dtype=torch.bool),
            "3.weight": torch.zeros(4, 4, 1, 1, dtype=torch.bool),
        }
    )
    assert module._semi_structured(net, masks) == ["0"]
    assert "16 bits" in module._semi_structured(net.float(), masks)
    dense = Masks({"1.weight": masks["1.weight"]})
    assert "no linear layer's mask" in module._semi_structured(net.half(), dense)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Old")
    assert "Old has no sparse tensor cores" in module._semi_structured(net, masks)


def test_layers_a_kernel_refuses_stay_dense_and_are_the_reason_if_there_is_no_other():
    def convert(weight: torch.Tensor) -> torch.Tensor:
        if weight.shape[1] < 8:
            raise RuntimeError("shape is not supported!\nmore")
        return weight.clone()

    net = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 8))
    x = torch.randn(3, 5, 8)
    expected = net(x)
    mixed = module._converted(net, ["0", "1"], convert)
    assert [type(layer).__name__ for layer in mixed] == ["_SparseLinear", "Linear"]
    torch.testing.assert_close(mixed(x), expected)
    assert module._converted(nn.Sequential(nn.Linear(4, 2)), ["0"], convert) == (
        "no kernel for these layers: shape is not supported!"
    )


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 0), reason="no sparse tensor cores"
)
def test_two_of_four_on_sparse_tensor_cores():
    net = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 128)).cuda().half()
    masks = Masks(
        {
            f"{i}.weight": torch.tensor([True, False, True, False]).repeat(o, n // 4)
            for i, n, o in ((0, 256, 512), (2, 512, 128))
        }
    )
    forms = variants(net, masks)
    x = torch.randn(64, 256, device="cuda", dtype=torch.float16)
    with torch.no_grad():
        torch.testing.assert_close(forms.networks["2:4"](x), forms.networks["masked"](x), rtol=1e-2, atol=1e-2)
    rows = latency(forms.networks, (256,), batch_sizes=(64,), repeats=3)
    assert {row["network"] for row in rows} == {"dense", "masked", "2:4"}


def test_masks_of_another_network_are_refused():
    with pytest.raises(UsageError, match="another network"):
        variants(network("mlp"), Masks({"fc9.weight": torch.ones(2, 2, dtype=torch.bool)}))


@pytest.mark.parametrize(
    ("networks", "options", "message"),
    [
        ({"masked": nn.Linear(2, 2)}, {}, "one must be 'dense'"),
        ({}, {}, "one must be 'dense'"),
        ({"dense": nn.Linear(2, 2)}, {"batch_sizes": (0,)}, "batch sizes"),
        ({"dense": nn.Linear(2, 2)}, {"batch_sizes": ()}, "batch sizes"),
        ({"dense": nn.Linear(2, 2)}, {"threads": (0,)}, "threads"),
        ({"dense": nn.Linear(2, 2)}, {"repeats": 1}, "repeats"),
        ({"dense": nn.Linear(2, 2), "other": nn.Linear(2, 2, device="meta")}, {}, "move all to one"),
    ],
)
def test_mistakes_are_named_before_anything_runs(networks, options, message):
    with pytest.raises(UsageError, match=message):
        latency(networks, (2,), **options)


def test_the_table_says_what_was_not_measured():
    forms = Variants({"dense": nn.Linear(2, 2)}, {"2:4": "no such device"})
    text = render(latency(forms.networks, (2,), **FAST), forms.missing)
    assert text.splitlines()[2].startswith("| 1 | 1 | dense | ")
    assert text.endswith("Not measured: 2:4 (no such device).")
