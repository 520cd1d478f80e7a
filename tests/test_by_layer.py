"""Gradients layer by layer against a plain autograd loop, and what they refuse."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sparsebench import by_layer, differentiation
from sparsebench.errors import UsageError
from sparsebench.per_example import mean_squared_gradients, per_example_gradients
from sparsebench.scope import scope_of
from sparsebench.scoring import cross_entropy
from tests.networks import NETWORKS, batches, network


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch):
    """Every network is large enough for this way."""
    monkeypatch.setattr(differentiation, "LARGE", 0)


@pytest.fixture
def refused(monkeypatch) -> list[str]:
    """Why networks were refused, or what went wrong."""
    reasons = []
    differentiate = by_layer.differentiate

    def watched(*args) -> None:
        try:
            differentiate(*args)
        except Exception as error:
            reasons.append(str(error))
            raise

    monkeypatch.setattr(by_layer, "differentiate", watched)
    return reasons


def assert_right(net: nn.Module, params: dict, data: list, loss=cross_entropy) -> None:
    """Gradients and mean squares are those of one backward pass an example."""
    expected = [
        torch.autograd.grad(loss(net, (x[i : i + 1], y[i : i + 1])), list(params.values()))
        for x, y in data
        for i in range(len(x))
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chunks = list(per_example_gradients(net, params, data, loss))
        squares = mean_squared_gradients(net, params, data, loss)
    for (name, right), mean in zip(zip(params, zip(*expected, strict=True), strict=True), squares, strict=True):
        right = torch.stack(right)
        torch.testing.assert_close(torch.cat([chunk[name] for chunk in chunks]), right, rtol=1e-8, atol=1e-12)
        torch.testing.assert_close(mean, right.square().mean(0), rtol=1e-8, atol=1e-14)
    assert all(p.grad is None for p in net.parameters())


def pictures(n: int = 5) -> list:
    torch.manual_seed(1)
    return [(torch.randn(n, 2, 8, 8).double(), torch.arange(n))]


@pytest.mark.parametrize("kind", NETWORKS)
def test_networks_of_every_kind(kind, refused):
    net = network(kind).double().eval()
    assert_right(net, scope_of(net).prunable, [(x.double(), y) for x, y in batches()])
    assert not refused


LAYERS = {
    "plain": {"kernel_size": 3, "padding": 1},
    "no bias": {"kernel_size": 3, "bias": False},
    "stride, dilation": {"kernel_size": (3, 2), "stride": (2, 1), "padding": (2, 1), "dilation": (1, 2)},
    "1x1": {"kernel_size": 1, "stride": 2},
    "groups": {"kernel_size": 3, "groups": 2},
    "reflected": {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
}


@pytest.mark.parametrize("kind", LAYERS)
def test_convolutions_of_every_kind(kind, refused):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 6, **LAYERS[kind]), nn.Flatten()).double()
    assert_right(net, scope_of(net).prunable, pictures())
    assert not refused


class Patchy(nn.Module):
    """One image is a batch of rows for its layers, a vector for one and tokens for another."""

    def __init__(self):
        super().__init__()
        self.rows, self.token = nn.Conv2d(2, 3, (1, 3)), nn.Linear(3, 4)
        self.vector, self.out = nn.Linear(8 * 6 * 4, 5), nn.Linear(5, 10)

    def forward(self, x):
        (image,) = x
        x = self.rows(image.permute(1, 0, 2)[:, :, None]).relu()
        x = self.token(x.permute(0, 2, 3, 1)).tanh()
        return self.out(self.vector(x.flatten()))[None]


def test_an_example_may_be_a_batch_a_vector_or_tokens(refused):
    torch.manual_seed(0)
    net = Patchy().double()
    assert_right(net, scope_of(net).prunable, pictures())
    assert not refused


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.inwards, self.twice, self.out = nn.Linear(128, 6), nn.Linear(6, 6), nn.Linear(6, 10)

    def forward(self, x):
        return self.out(self.twice(self.twice(self.inwards(x.flatten(1))).tanh()))


class Standardised(Tied):
    def forward(self, x):
        weight = self.twice.weight - self.twice.weight.mean()
        return self.out(F.linear(self.inwards(x.flatten(1)), weight, self.twice.bias))


class AsInput(Tied):
    def forward(self, x):
        product = F.linear(self.twice.weight, self.out.weight)
        return F.linear(self.inwards(x.flatten(1)).tanh(), product.T)


class Constant(Tied):
    def forward(self, x):
        return self.out(self.inwards(x.flatten(1)) + self.twice(torch.ones(1, 6).double()))


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Tied, "twice.weight is used twice"),
        (Standardised, "a weight is used by"),
        (AsInput, "is the input or the bias of a layer"),
        (Constant, "inputs are the same for all examples"),
    ],
)
def test_other_uses_of_a_weight_are_refused_and_differentiated_as_ever(kind, why, refused):
    torch.manual_seed(0)
    net = kind().double()
    assert_right(net, scope_of(net).prunable, pictures())
    assert why in refused[0]


def test_a_convolution_with_padding_by_name_is_refused(refused):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding="same"), nn.Flatten()).double()
    assert_right(net, scope_of(net).prunable, pictures())
    assert "padding='same'" in refused[0]


def test_biases_are_refused(refused):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(144, 10)).double()
    assert_right(net, dict(net.named_parameters()), pictures())
    assert "bias" in refused[0]


def test_a_weight_that_the_loss_does_not_depend_on_is_told():
    net = Tied().double()
    params = scope_of(net).prunable
    for loss in (
        lambda model, batch: model.inwards(batch[0].flatten(1)).sum(),
        lambda model, batch: (model.inwards(batch[0].flatten(1)).sum(), model(batch[0]))[0],
    ):
        with pytest.raises(UsageError, match=r"does not depend on .*out\.weight"):
            list(per_example_gradients(net, params, pictures(), loss))


def test_activations_in_place_and_residuals(refused):
    """The first layer's output is overwritten, too."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 3, 3),
        nn.ELU(inplace=True),
        nn.Flatten(),
        nn.Linear(48, 9),
    ).double()
    assert_right(net, scope_of(net).prunable, pictures())
    assert not refused


def test_a_teacher_of_the_loss_is_left_without_gradients(refused):
    torch.manual_seed(0)
    net, teacher = Tied().double(), nn.Linear(128, 10).double()

    def loss(model, batch):
        return (model.out(model.inwards(batch[0].flatten(1))) * teacher(batch[0].flatten(1))).sum()

    params = {name: p for name, p in scope_of(net).prunable.items() if "twice" not in name}
    assert_right(net, params, pictures(), loss)
    assert not refused
    assert teacher.weight.grad is None


def test_an_image_that_changes_nothing_is_no_error(refused):
    """Its gradients are zero, which is not the same as no dependence."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(128, 6, bias=False), nn.ReLU(), nn.Linear(6, 10)).double()
    assert_right(net, scope_of(net).prunable, [(torch.zeros(2, 2, 8, 8).double(), torch.arange(2)), *pictures()])


def test_what_fails_half_way_is_not_begun_again(monkeypatch):
    """Squares of some examples are already in the sum."""

    def no_memory(x, *_):
        raise RuntimeError("can't allocate memory")

    monkeypatch.setattr(by_layer.nn.grad, "conv2d_weight", no_memory)
    net = nn.Sequential(nn.Flatten(2), nn.Linear(64, 64), nn.Unflatten(2, (8, 8)), nn.Conv2d(2, 4, 3), nn.Flatten())
    params = scope_of(net).prunable
    assert list(params) == ["1.weight", "3.weight"]
    with pytest.raises(RuntimeError, match="can't allocate"):
        mean_squared_gradients(net, params, [(x.float(), y) for x, y in pictures()], cross_entropy)


def test_small_networks_are_vectorised(monkeypatch):
    monkeypatch.setattr(differentiation, "LARGE", 10**6)
    monkeypatch.setattr(by_layer, "differentiate", None)
    net = network("mlp").double().eval()
    assert_right(net, scope_of(net).prunable, [(x.double(), y) for x, y in batches()])
