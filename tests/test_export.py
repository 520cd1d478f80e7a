"""Export: what others read computes what the pruned network computes."""

from __future__ import annotations

import importlib.util
import json
import logging
import struct

import pytest
import torch
from torch import nn

from sparsebench import export as module
from sparsebench.errors import SparsebenchError, UsageError
from sparsebench.export import export, load
from sparsebench.functional import prune
from sparsebench.masks import Masks
from tests.networks import NETWORKS, batches, network


def pruned(kind: str) -> tuple[nn.Module, Masks]:
    net = network(kind).eval()
    return net, prune(net, "magnitude", sparsity=0.8)


def outputs(net: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return net(batches()[0][0])


def fresh(kind: str, state: dict) -> nn.Module:
    net = network(kind)
    for p in net.parameters():
        nn.init.normal_(p)
    net.load_state_dict(state)
    return net.eval()


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_state_dict_is_the_dense_networks_and_loads_without_code(kind, tmp_path):
    net, masks = pruned(kind)
    report = export(net, tmp_path / "net.pt")
    state = torch.load(tmp_path / "net.pt", weights_only=True)
    assert {n: t.shape for n, t in state.items()} == {n: t.shape for n, t in network(kind).state_dict().items()}
    assert torch.equal(outputs(fresh(kind, state)), outputs(net))
    assert report["sparsity"] == masks.sparsity
    assert report["bytes"] == (tmp_path / "net.pt").stat().st_size


@pytest.mark.parametrize("kind", NETWORKS)
def test_safetensors_hold_weights_masks_and_metadata(kind, tmp_path):
    net, masks = pruned(kind)
    about = {"task": "digits", "network": kind, "arguments": {"hidden": [20, 20]}}
    export(net, tmp_path / "net.safetensors", masks, metadata=about)
    state, read, metadata = load(tmp_path / "net.safetensors")
    assert read == masks
    assert list(read) == list(masks)
    assert list(state) == list(net.state_dict())
    assert torch.equal(outputs(fresh(kind, state)), outputs(net))
    assert metadata == about | {
        "sparsity": masks.sparsity,
        "kept": masks.kept,
        "total": masks.total,
        "digest": masks.digest(),
    }


def test_masks_are_stored_eight_to_a_byte_and_equal_networks_are_equal_files(tmp_path):
    net, masks = pruned("mlp")
    for name in "ab":
        export(net, tmp_path / f"{name}.safetensors", masks, metadata={"x": 1, "y": 2, "z": 3})
    content = (tmp_path / "a.safetensors").read_bytes()
    assert content == (tmp_path / "b.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    begin, end = header["mask:fc1.weight"]["data_offsets"]
    assert end - begin == masks["fc1.weight"].numel() / 8
    assert len(header["__metadata__"]) == 1


def test_odd_numbers_of_weights_and_weights_that_happen_to_be_zero_come_back(tmp_path):
    net = nn.Linear(3, 3, bias=False)
    net.weight.data[0, 0] = 0
    masks = Masks({"weight": torch.tensor([[True, False, True]] * 3)})
    export(net, tmp_path / "net.safetensors", masks)
    state, read, _ = load(tmp_path / "net.safetensors")
    assert read == masks
    assert torch.equal(state["weight"], net.weight.detach() * masks["weight"])


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_masks_that_were_not_applied_are_zero_in_the_file_and_the_model_stays(suffix, tmp_path):
    net = network("mlp")
    masks = Masks({"fc1.weight": torch.rand(20, 64) < 0.5})
    before = {n: t.clone() for n, t in net.state_dict().items()}
    export(net, tmp_path / f"net.{suffix}", masks)
    path = tmp_path / f"net.{suffix}"
    state = torch.load(path, weights_only=True) if suffix == "pt" else load(path)[0]
    assert torch.equal(state["fc1.weight"], before["fc1.weight"] * masks["fc1.weight"])
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())
    assert net.training


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_tied_weights_share_their_mask(suffix, tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 4, bias=False)
            self.b = nn.Linear(4, 4, bias=False)
            self.b.weight = self.a.weight

    path = tmp_path / f"net.{suffix}"
    export(Tied(), path, Masks({"a.weight": torch.eye(4, dtype=torch.bool)}))
    state = torch.load(path, weights_only=True) if suffix == "pt" else load(path)[0]
    assert torch.equal(state["a.weight"], state["b.weight"])
    assert int((state["b.weight"] != 0).sum()) == 4


def test_a_channels_last_network_is_written_in_the_common_order(tmp_path):
    net, masks = pruned("resnet8")
    expected = outputs(net)
    net = net.to(memory_format=torch.channels_last)
    export(net, tmp_path / "net.safetensors", masks)
    export(net, tmp_path / "net.pt", masks)
    for state in (load(tmp_path / "net.safetensors")[0], torch.load(tmp_path / "net.pt", weights_only=True)):
        assert all(t.is_contiguous() for t in state.values())
        torch.testing.assert_close(outputs(fresh("resnet8", state)), expected)


@pytest.mark.parametrize("kind", [*NETWORKS, "channels_last"])
def test_onnx_computes_the_same_at_any_batch_size(kind, tmp_path, capfd, caplog, recwarn):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    net, masks = pruned("resnet8" if kind == "channels_last" else kind)
    if kind == "channels_last":
        net = net.to(memory_format=torch.channels_last)
    net.train()
    random = torch.get_rng_state()
    recwarn.clear()
    report = export(net, tmp_path / "net.onnx", masks, example=batches()[0][0][:1])
    assert "".join(capfd.readouterr()) == ""
    assert not recwarn.list
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]
    assert logging.root.manager.disable == logging.NOTSET
    assert net.training
    assert torch.equal(torch.get_rng_state(), random)
    assert report["largest_difference"] < 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    net.eval()
    for x, _ in batches():
        got = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
        with torch.no_grad():
            assert float((got - net(x)).abs().max()) < 1e-4
    assert not list(tmp_path.glob("*.data"))


def test_onnx_holds_the_masked_weights_though_the_model_is_dense(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    net = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
    masks = Masks({"0.weight": torch.rand(6, 8) < 0.3})
    export(net, tmp_path / "net.onnx", masks, example=torch.randn(5, 8))
    weights = [onnx.numpy_helper.to_array(w) for w in onnx.load(tmp_path / "net.onnx").graph.initializer]
    (first,) = [w for w in weights if w.size == 48]
    assert int((first != 0).sum()) == masks.kept
    assert int((net[0].weight == 0).sum()) == 0


def test_an_onnx_network_that_differs_is_not_written(tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(module, "TOLERANCE", -1.0)
    with pytest.raises(SparsebenchError, match="differs"):
        export(nn.Linear(3, 2), tmp_path / "net.onnx", example=torch.randn(2, 3))
    assert not list(tmp_path.iterdir())


class Unexportable(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(x) if float(x.sum()) > 0 else x


def test_a_network_that_onnx_cannot_express_is_named(tmp_path):
    pytest.importorskip("onnxscript")
    with pytest.raises(SparsebenchError, match="Unexportable cannot be written as ONNX"):
        export(Unexportable(), tmp_path / "net.onnx", example=torch.randn(2, 3))


def test_a_missing_package_is_named_with_the_remedy(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    with pytest.raises(UsageError, match=r"needs onnxruntime: pip install 'sparsebench\[export\]'"):
        export(network("mlp"), tmp_path / "net.onnx", example=batches()[0][0])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("net.tflite", {}, "format 'tflite'"),
        ("net", {}, "format ''"),
        ("net.onnx", {}, "pass example="),
        ("net.pt", {"masks": Masks({"fc9.weight": torch.ones(2, 2, dtype=torch.bool)})}, "another network"),
        ("net.pt", {"masks": Masks({"fc1.weight": torch.ones(2, 2, dtype=torch.bool)})}, "another network"),
        ("net.safetensors", {"metadata": {"x": {1, 2}}}, "JSON"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(name, options, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        export(network("mlp"), tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_files_that_hold_something_else_are_refused(tmp_path):
    net, masks = pruned("mlp")
    masks.save(tmp_path / "masks.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"no such thing")
    for name, message in (("masks", "does not hold"), ("junk", "cannot be read"), ("missing", "cannot be read")):
        with pytest.raises(UsageError, match=message):
            load(tmp_path / f"{name}.safetensors")
    path = tmp_path / "net.safetensors"
    export(net, path, masks)
    content = bytearray(path.read_bytes())
    (length,) = struct.unpack("<Q", content[:8])
    begin, _ = json.loads(content[8 : 8 + length])["mask:fc1.weight"]["data_offsets"]
    content[8 + length + begin] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match="damaged"):
        load(path)
