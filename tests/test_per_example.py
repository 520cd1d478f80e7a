"""Gradients of single examples against a plain autograd loop, and two processes against one."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from sparsebench import scores
from sparsebench.errors import UsageError
from sparsebench.per_example import gradient_matrix, mean_squared_gradients, per_example_gradients
from sparsebench.scope import scope_of
from sparsebench.scoring import cross_entropy
from tests.networks import NETWORKS, batches, network


def in_double(data=None) -> list:
    return [(x.double(), y) for x, y in data or batches()]


def one_by_one(net, params, data, loss=cross_entropy) -> list[list[torch.Tensor]]:
    """The oracle: one backward pass an example."""
    return [
        torch.autograd.grad(loss(net, (x[i : i + 1], y[i : i + 1])), list(params.values()))
        for x, y in data
        for i in range(len(x))
    ]


def stacked(net, params, data, loss=cross_entropy, **options) -> dict[str, torch.Tensor]:
    chunks = list(per_example_gradients(net, params, data, loss, **options))
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in params}


def assert_same(found: dict, expected: list) -> None:
    assert all(len(rows) == len(expected) for rows in found.values())
    for j, rows in enumerate(found.values()):
        right = torch.stack([grads[j] for grads in expected])
        assert float((rows - right).norm() / right.norm()) < 1e-10


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_row_is_the_gradient_of_that_example(kind):
    net = network(kind).double().eval()
    params = scope_of(net).prunable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = stacked(net, params, in_double())
    assert_same(found, one_by_one(net, params, in_double()))
    assert not any(rows.requires_grad for rows in found.values())
    assert all(p.grad is None for p in net.parameters())


def test_a_chunk_stays_within_its_memory():
    net = network("mlp").double().eval()
    params = scope_of(net).prunable
    size = sum(p.numel() * 8 for p in params.values())
    for memory, lengths in ((5 * size + 7, [5, 5, 2, 5, 2]), (1, [1] * 19), (10**9, [12, 7])):
        chunks = list(per_example_gradients(net, params, in_double(), cross_entropy, memory=memory))
        assert [len(chunk["fc1.weight"]) for chunk in chunks] == lengths
    assert_same(stacked(net, params, in_double(), memory=5 * size), one_by_one(net, params, in_double()))


class Attentive(nn.Module):
    """What vectorising may stumble over: packed attention, in-place activations, dropout."""

    def __init__(self):
        super().__init__()
        self.inwards = nn.Linear(8, 6)
        self.attention = nn.MultiheadAttention(6, 2, dropout=0.3, batch_first=True)
        self.out = nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(6, 10))

    def forward(self, x):
        x = self.inwards(x.flatten(1, 2))
        return self.out(self.attention(x, x, x, need_weights=False)[0].mean(1))


def test_packed_attention_and_in_place_activations_are_vectorised():
    torch.manual_seed(0)
    net = Attentive().double().eval()
    params = scope_of(net).prunable
    assert "attention.in_proj_weight" in params
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = stacked(net, params, in_double())
    assert_same(found, one_by_one(net, params, in_double()))


class Choosy(nn.Module):
    """Reads a value, which vmap cannot."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(64, 10), nn.Linear(64, 10)

    def forward(self, x):
        x = x.flatten(1)
        return self.a(x) + self.b(x) * (2.0 if float(x.detach().sum()) > 0 else 1.0)


def test_a_network_that_vmap_cannot_run_is_looped_over_with_a_warning():
    torch.manual_seed(0)
    net = Choosy().double()
    params = scope_of(net).prunable
    with pytest.warns(UserWarning, match="one example at a time"):
        found = stacked(net, params, in_double())
    assert_same(found, one_by_one(net, params, in_double()))


def test_an_error_of_the_loss_is_its_own():
    def broken(model, batch):
        raise RuntimeError("in the middle of it")

    net = network("mlp")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeError, match="in the middle of it"):
            stacked(net, scope_of(net).prunable, batches(), broken)


def test_a_loss_may_use_the_model_and_the_batch_as_it_likes():
    torch.manual_seed(0)
    net = nn.ModuleDict({"body": nn.Linear(64, 4), "head": nn.Linear(4, 10)}).double()
    scale = torch.rand(10, dtype=torch.float64)

    def loss(model, batch):
        logits = model["head"](model["body"](batch["x"].flatten(1)).tanh()) * batch["scale"]
        return nn.functional.cross_entropy(logits, batch["y"])

    def pair_loss(model, pair):
        return loss(model, {"x": pair[0], "y": pair[1], "scale": scale})

    params = scope_of(net).prunable
    data = [{"x": x, "y": y, "note": "text", "scale": scale} for x, y in in_double()]
    assert_same(stacked(net, params, data, loss), one_by_one(net, params, in_double(), pair_loss))


def test_mean_of_squares_by_eye_and_not_the_square_of_the_mean():
    net = nn.Linear(1, 1, bias=False).double()
    x = torch.tensor([[1.0], [-3.0]], dtype=torch.float64)
    (squares,) = mean_squared_gradients(net, dict(net.named_parameters()), [(x, x)], lambda f, b: f(b[0]).mean())
    assert squares.item() == 5.0  # the mean gradient is -1, its square 1


def test_the_matrix_has_an_example_a_row_and_a_parameter_after_the_other():
    net = network("mlp").double().eval()
    params = scope_of(net).prunable
    expected = torch.stack([torch.cat([g.flatten() for g in row]) for row in one_by_one(net, params, in_double())])
    for limit in (1, 12, 15, 19, 100):
        matrix = gradient_matrix(net, params, in_double(), cross_entropy, limit=limit)
        assert matrix.shape == (min(limit, 19), scope_of(net).size)
        torch.testing.assert_close(matrix, expected[:limit], rtol=1e-9, atol=1e-14)


def test_refusals():
    net = network("mlp")
    params = scope_of(net).prunable
    with pytest.raises(UsageError, match="gradients=0"):
        gradient_matrix(net, params, batches(), cross_entropy, limit=0)
    with pytest.raises(UsageError, match="data is empty"):
        gradient_matrix(net, params, [], cross_entropy, limit=5)
    with pytest.raises(UsageError, match="without tensors"):
        stacked(net, params, ["text"])
    with pytest.raises(UsageError, match=r"does not depend on fc2\.weight"):
        stacked(net, params, batches(), lambda model, batch: model.fc1(batch[0].flatten(1)).sum())


def measured(data: list) -> dict[str, torch.Tensor]:
    net = network("mlp").double().eval()
    params = scope_of(net).prunable
    found = {"rows": gradient_matrix(net, params, data, cross_entropy, limit=15)}
    for name in ("fisher", "obd"):
        found |= {f"{name} {n}": score for n, score in scores(net, name, data).items()}
    return found


def shares() -> list[list]:
    """12 and 7 examples; of the 15 rows asked for, the ranks give 8 and 7."""
    return [[batch] for batch in in_double()]


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(measured(shares()[rank]), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path):
    root = Path(__file__).parents[1]
    processes = [
        subprocess.Popen([sys.executable, "-m", "tests.test_per_example", str(rank), str(tmp_path)], cwd=root)
        for rank in (0, 1)
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    one = measured([batch for share in shares() for batch in share])
    x, y = shares()[0][0]
    one["rows"] = measured([(x[:8], y[:8]), *shares()[1]])["rows"]
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert found.keys() == one.keys()
        for name, value in found.items():
            torch.testing.assert_close(value, one[name], rtol=1e-8, atol=1e-14, msg=name)


if __name__ == "__main__":
    worker(int(sys.argv[1]), sys.argv[2])
