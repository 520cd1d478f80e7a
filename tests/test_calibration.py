"""Statistics of inputs against inputs caught by hooks and patches cut out in loops; batch norm against all the data."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from sparsebench import calibration, prune
from sparsebench.batch_norm import reestimate
from sparsebench.calibration import feature_norms, forward_order, second_moments
from sparsebench.errors import UsageError
from sparsebench.scope import scope_of
from sparsebench.scoring import cross_entropy
from tests.networks import NETWORKS, batches, network


def output_sum(model: nn.Module, batch: Tensor) -> Tensor:
    return model(batch).sum()


def caught_inputs(model: nn.Module, path: str, data: list, loss) -> np.ndarray:
    """``[groups, n, columns]``: what a linear or 2-d convolution module multiplies its weight by, float64."""
    module, caught = model.get_submodule(path), []
    handle = module.register_forward_pre_hook(lambda module, args: caught.append(args[0].detach().double()))
    with torch.no_grad():
        for batch in data:
            loss(model, batch)
    handle.remove()
    return np.concatenate([unfolded(module, x.numpy()) for x in caught], axis=1)


def unfolded(module: nn.Module, x: np.ndarray) -> np.ndarray:
    if isinstance(module, nn.Linear):
        return x.reshape(1, -1, x.shape[-1])
    dims, groups = len(module.kernel_size), module.groups
    if module.padding == "same":
        total = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        padding = [(t // 2, t - t // 2) for t in total]
    else:
        padding = [(p, p) for p in module.padding]
    mode = {"zeros": "constant", "circular": "wrap"}[module.padding_mode]
    x = np.pad(x, [(0, 0), (0, 0), *padding], mode=mode)
    spans = [d * (k - 1) + 1 for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    steps = [range(0, x.shape[2 + i] - spans[i] + 1, module.stride[i]) for i in range(dims)]
    rows = [[] for _ in range(groups)]
    for image in x:
        for corner in product(*steps):
            window = [slice(c, c + s, d) for c, s, d in zip(corner, spans, module.dilation, strict=True)]
            for group, block in enumerate(np.split(image[(slice(None), *window)], groups)):
                rows[group].append(block.ravel())
    return np.array(rows)


def assert_inputs(model: nn.Module, data: list, loss) -> None:
    """Both statistics of every prunable weight are those of the inputs caught by hooks."""
    params = scope_of(model).prunable
    moments = second_moments(model, params, data, loss)
    norms = feature_norms(model, params, data, loss)
    assert list(moments) == list(norms) == list(params)
    for name in params:
        x = caught_inputs(model, name.rpartition(".")[0], data, loss)
        expected = np.stack([block.T @ block / len(block) for block in x])
        np.testing.assert_allclose(moments[name], expected, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(norms[name], np.sqrt((x**2).sum(1)), rtol=1e-6)


@pytest.mark.parametrize("kind", NETWORKS)
def test_statistics_on_every_kind_of_network(kind):
    assert_inputs(network(kind).eval(), batches(), cross_entropy)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (4, 7, 6)),
        (nn.Conv2d(3, 3, (3, 2), padding=(2, 0), dilation=(2, 1), groups=3), (3, 6, 5)),
        (nn.Conv2d(2, 3, (4, 3), padding="same", dilation=(1, 2)), (2, 6, 5)),
        (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 5, 5)),
        (nn.Conv1d(4, 2, 3, stride=2, groups=2), (4, 9)),
        (nn.Conv3d(2, 2, 2, stride=(1, 2, 1), padding=1), (2, 3, 4, 3)),
        (nn.Linear(5, 3), (2, 4, 5)),
    ],
    ids=lambda value: str(value) if isinstance(value, nn.Module) else "",
)
def test_every_geometry(layer, size, monkeypatch):
    data = [torch.randn(n, *size) for n in (3, 2)]
    assert_inputs(nn.Sequential(layer), data, output_sum)
    monkeypatch.setattr(calibration, "CHUNK", 1)  # one image or vector at a time
    assert_inputs(nn.Sequential(layer), data, output_sum)


def test_functional_call_with_arguments_by_name_and_one_image():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 2)

        def forward(self, x):
            return F.conv2d(weight=self.conv.weight, stride=2, input=x)

    x, net = torch.randn(2, 4, 4), Net()
    (moments,) = second_moments(net, {"w": net.conv.weight}, [x], output_sum).values()
    rows = np.array([x[:, i : i + 2, j : j + 2].numpy().ravel() for i in (0, 2) for j in (0, 2)])
    np.testing.assert_allclose(moments[0], rows.T @ rows / 4, rtol=1e-6)


class Attention(nn.Module):
    """Queries attend to keys and values of another length."""

    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True, **options)

    def forward(self, streams):
        return self.attention(*streams, need_weights=False)[0]


@pytest.mark.parametrize("options", [{}, {"kdim": 3, "vdim": 5}], ids=["joint", "separate"])
def test_attention(options):
    torch.manual_seed(0)
    net = Attention(**options).eval()
    a = net.attention
    nn.init.normal_(a.out_proj.bias)
    q, k, v = torch.randn(2, 3, 4), torch.randn(2, 5, options.get("kdim", 4)), torch.randn(2, 5, options.get("vdim", 4))
    params = scope_of(net).prunable
    moments = second_moments(net, params, [(q, k, v)], output_sum)
    square = [np.einsum("bti,btj->ij", x, x) for x in (q.double(), k.double(), v.double())]
    if options:
        found = [moments[f"attention.{part}_proj_weight"][0] for part in "qkv"]
        expected = [square[0] / 6, square[1] / 10, square[2] / 10]
    else:
        found = list(moments["attention.in_proj_weight"])
        expected = [s / 10 for s in square]  # one count for the three blocks: that of the longest
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    weights = (
        a.in_proj_weight.chunk(3)
        if a.in_proj_weight is not None
        else [a.q_proj_weight, a.k_proj_weight, a.v_proj_weight]
    )
    q, k, v = (
        (x @ w.T + b).view(2, -1, 2, 2).transpose(1, 2)
        for x, w, b in zip((q, k, v), weights, a.in_proj_bias.chunk(3), strict=True)
    )
    out = ((q @ k.mT / 2**0.5).softmax(-1) @ v).transpose(1, 2).flatten(2).detach().double()
    expected = np.einsum("bti,btj->ij", out, out) / 6
    np.testing.assert_allclose(moments["attention.out_proj.weight"][0], expected, rtol=1e-4, atol=1e-6)


def test_self_attention_in_evaluation_mode_is_seen():
    """Its fused kernel would hide the weights."""
    net = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()
    names = forward_order(net, scope_of(net).prunable, torch.randn(2, 3, 4), output_sum)
    assert names == ["self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight"]


class Reused(nn.Module):
    """``second`` comes first and is used again at the end; counts the calls of ``last``."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
        self.calls = 0
        self.last.register_forward_pre_hook(self.count)

    def count(self, *_):
        self.calls += 1

    def forward(self, x):
        return self.last(self.second(torch.relu(self.first(self.second(x)))))


def test_a_weight_used_twice_sums_both():
    net, data = Reused(), [torch.randn(4, 3), torch.randn(2, 3)]
    assert list(forward_order(net, scope_of(net).prunable, data[0], output_sum)) == [
        "second.weight",
        "first.weight",
        "last.weight",
    ]
    assert_inputs(net, data, output_sum)


def test_one_weight_ends_the_forward_pass_early():
    net, data = Reused(), [torch.randn(4, 3) for _ in range(5)]
    expected = second_moments(net, scope_of(net).prunable, data, output_sum)["first.weight"]
    net.calls = 0
    found = second_moments(net, {"first.weight": net.first.weight}, data, output_sum)
    assert list(found) == ["first.weight"]
    assert torch.equal(found["first.weight"], expected)
    assert net.calls == 1  # the first batch shows how often the weight is used


def test_what_cannot_be_seen_is_refused():
    net = nn.Sequential(nn.ConvTranspose2d(1, 2, 2), nn.Flatten(), nn.Linear(18, 2))
    with pytest.raises(UsageError, match=r"inputs of 0\.weight cannot be seen.*exclude="):
        second_moments(net, scope_of(net).prunable, [torch.randn(2, 1, 2, 2)], output_sum)
    with pytest.raises(UsageError, match="no batches"):
        feature_norms(net, {"2.weight": net[2].weight}, [], output_sum)


def test_batch_norm_has_the_statistics_of_all_the_data():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Dropout(0.5), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 10))
    net[2].eval()
    modes, weights = [m.training for m in net.modules()], [p.clone() for p in net.parameters()]
    state = torch.get_rng_state()
    assert reestimate(net, batches()) == 1
    x = net[0](torch.cat([x for x, _ in batches()])).detach().double().numpy().transpose(1, 0, 2, 3).reshape(3, -1)
    np.testing.assert_allclose(net[2].running_mean, x.mean(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net[2].running_var, x.var(1, ddof=1), rtol=1e-5)
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), weights, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert net[2].num_batches_tracked == 0


@pytest.mark.parametrize("kind", ["resnet8", "vgg"])
def test_batch_norms_behind_each_other_agree_with_torch_on_one_batch(kind):
    net, one = network(kind), batches()[:1]
    other = deepcopy(net).eval()
    norms = [m for m in other.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch then averages over batches
        norm.train()
    other(one[0][0])
    assert reestimate(net, one) == len(norms) > 5
    for name, expected in other.named_buffers():
        if name.endswith(("mean", "var")):
            np.testing.assert_allclose(net.get_buffer(name), expected, rtol=1e-4, atol=1e-6)


def test_batch_norm_limits():
    assert reestimate(nn.Linear(2, 2), []) == 0
    assert reestimate(nn.BatchNorm1d(2, track_running_stats=False), []) == 0
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10))
    with pytest.raises(UsageError, match="no batches"):
        reestimate(net, [])
    before = net[2].running_mean.clone()
    with pytest.raises(UsageError, match="batch of one image"):
        reestimate(net, [(torch.randn(1, 1, 8, 8), torch.zeros(1, dtype=torch.long))])
    assert torch.equal(net[2].running_mean, before)
    assert not net[2]._forward_pre_hooks


def results(data: list) -> dict:
    net = network("resnet8").eval()
    params = scope_of(net).prunable
    found = {"norms": feature_norms(net, params, data, cross_entropy)}
    found["moments"] = second_moments(net, params, data, cross_entropy)
    first = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 10))
    nn.init.ones_(first[0].weight)
    nn.init.zeros_(first[0].bias)
    reestimate(first, data)
    found["norm"] = {"mean": first[1].running_mean, "var": first[1].running_var}
    found["masks"] = dict(prune(net, "sparsegpt", sparsity=0.6, data=data))
    return found


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(results(batches()[rank : rank + 1]), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path):
    root = Path(__file__).parent.parent
    processes = [
        subprocess.Popen([sys.executable, "-m", "tests.test_calibration", str(rank), str(tmp_path)], cwd=root)
        for rank in (0, 1)
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    one, ranks = results(batches()), [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    for kind, tensors in one.items():
        for name, expected in tensors.items():
            assert torch.equal(ranks[0][kind][name], ranks[1][kind][name])
            np.testing.assert_allclose(ranks[0][kind][name], expected, rtol=1e-6, atol=1e-12)


if __name__ == "__main__":
    worker(int(sys.argv[1]), sys.argv[2])
