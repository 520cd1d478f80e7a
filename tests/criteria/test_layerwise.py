"""Wanda and SparseGPT against loops in numpy, and what holds of them and of OBC (its own oracle: test_obc.py)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sparsebench import prune, scores
from sparsebench.errors import UsageError
from sparsebench.functional import pruning
from sparsebench.masks import Masks
from sparsebench.scope import Scope, scope_of
from sparsebench.scoring import cross_entropy
from sparsebench.selection import NonFiniteScore, select
from tests.networks import NETWORKS, batches, network
from tests.test_calibration import caught_inputs, output_sum

METHODS = ("wanda", "sparsegpt", "obc")


def double(kind: str) -> nn.Module:
    return network(kind).double().eval()


def data() -> list[tuple[Tensor, Tensor]]:
    return [(x.double(), y) for x, y in batches()]


def narrow(model: nn.Module, widest: int) -> Scope:
    """The layers on which removing weights one by one, each by its own least squares, takes seconds."""
    names = [name for name, p in scope_of(model).prunable.items() if p[0].numel() > widest]
    return scope_of(model, exclude=names)


def call_order(model: nn.Module, names: list[str], batch, loss) -> list[str]:
    """By hooks on the modules that own the weights."""
    order, handles = [], []
    for name in names:
        module = model.get_submodule(name.rpartition(".")[0])
        handles.append(module.register_forward_pre_hook(lambda *_, name=name: order.append(name)))
    loss(model, batch)
    for handle in handles:
        handle.remove()
    return order


def hessian(x: np.ndarray, damp: float = 0.01) -> np.ndarray:
    """``[n, columns] -> (2/n) sum x x^T + damp mean(diag) I``."""
    h = sum(2 / len(x) * np.outer(row, row) for row in x)
    return h + damp * np.mean(np.diag(h)) * np.eye(len(h))


def layer_by_layer(model: nn.Module, names: list[str], data: list, loss, solve) -> dict[str, np.ndarray]:
    """``solve(name, [groups, rows, columns], inputs [groups, n, columns])`` on each layer, written into the model."""
    masks = {}
    for name in call_order(model, names, data[0], loss):
        param = model.get_parameter(name)
        x = caught_inputs(model, name.rpartition(".")[0], data, loss)
        keep, new = solve(name, param.detach().numpy().reshape(len(x), param.shape[0] // len(x), -1), x)
        masks[name] = keep.reshape(param.shape)
        param.data = torch.from_numpy(np.where(keep, new, 0.0).reshape(param.shape))
    return masks


def magnitude_counts(model: nn.Module, sparsity: float, rule: str, scope: Scope | None = None) -> Masks:
    """The counts of an allocation do not depend on the scores."""
    return pruning(model, "magnitude", allocation=rule, sparsity=sparsity, scope=scope).masks


def assert_same(masks: Masks, model: nn.Module, expected: dict[str, np.ndarray], other: nn.Module) -> None:
    for name, keep in expected.items():
        assert np.array_equal(masks[name], keep), name
        np.testing.assert_allclose(model.get_parameter(name).detach(), other.get_parameter(name).detach(), rtol=1e-4)


# Wanda


@pytest.mark.parametrize("kind", NETWORKS)
def test_wanda_on_every_kind_of_network(kind):
    model, other = double(kind), double(kind)
    counts = magnitude_counts(model, 0.6, "row")

    def solve(name, weight, x):
        kept = counts[name].flatten(1).sum(1).reshape(weight.shape[:2])
        keep = np.zeros(weight.shape, bool)
        for g, r in np.ndindex(*weight.shape[:2]):
            score = [abs(w) * np.linalg.norm(x[g, :, j]) for j, w in enumerate(weight[g, r])]
            keep[g, r, np.argsort(score)[::-1][: kept[g, r]]] = True
        return keep, weight

    expected = layer_by_layer(other, list(counts), data(), cross_entropy, solve)
    assert_same(prune(model, "wanda", sparsity=0.6, data=data()), model, expected, other)


def test_wanda_keeps_as_many_in_every_row():
    model = network("vit").eval()
    for mask in prune(model, "wanda", sparsity=0.7, data=batches()).values():
        rows = mask.flatten(1).sum(1)
        assert rows.max() - rows.min() <= 1


# SparseGPT


def column_by_column(weight: np.ndarray, h: np.ndarray, dead: np.ndarray, kept: int, block: int, nm=None, alive=None):
    """Scores, and what is left to later columns, by the inverse of ``h[c:, c:]``; ``[groups, rows, columns]``."""
    w = np.where(dead[:, None], 0.0, weight)
    alive = np.ones(w.shape, bool) if alive is None else alive
    keep = alive.copy()
    groups, rows, columns = w.shape
    inverse = [[np.linalg.inv(one[c:, c:]) for c in range(columns)] for one in h]
    removed = 0
    for c in range(columns):
        if c % (nm[1] if nm else block) == 0:
            stop = min(c + (nm[1] if nm else block), columns)
            score = {place: w[place] ** 2 / inverse[place[0]][place[2]][0, 0] for place in np.ndindex(w.shape)}
            score = {place: s for place, s in score.items() if alive[place] and c <= place[2] < stop}
            if nm:
                for g, r in np.ndindex(groups, rows):
                    for j in sorted(range(c, stop), key=lambda j: score[g, r, j])[: nm[1] - nm[0]]:
                        keep[g, r, j] = False
            else:
                due = int((alive.sum() - kept) * alive[..., :stop].sum() / alive.sum() + 0.5) - removed
                for place in sorted(score, key=score.get)[:due]:
                    keep[place] = False
                removed += due
        for g, r in np.ndindex(groups, rows):
            if not keep[g, r, c]:
                w[g, r, c:] -= w[g, r, c] / inverse[g][c][0, 0] * inverse[g][c][0]
                w[g, r, c] = 0.0
    return keep, w


@pytest.mark.parametrize(("kind", "block"), [("mlp", 128), ("mlp", 7), ("resnet8", 16), ("vgg", 16), ("vit", 10)])
def test_sparsegpt_on_every_kind_of_network(kind, block):
    model, other = double(kind), double(kind)
    scope = narrow(model, 72)
    counts = magnitude_counts(model, 0.6, "uniform", scope).counts

    def solve(name, weight, x):
        h = np.stack([hessian(one) for one in x])
        return column_by_column(weight, h, (x == 0).all(1), counts[name], block)

    expected = layer_by_layer(other, list(counts), data(), cross_entropy, solve)
    masks = prune(model, "sparsegpt", sparsity=0.6, data=data(), scope=scope, block=block)
    assert_same(masks, model, expected, other)


@pytest.mark.parametrize("layer", [nn.Linear(16, 6), nn.Conv2d(4, 6, 3), nn.Conv2d(8, 6, (2, 1), groups=2)])
@pytest.mark.parametrize("pattern", [(2, 4), (1, 4)])
def test_sparsegpt_chooses_n_of_m_as_it_goes(layer, pattern):
    torch.manual_seed(1)
    size = (16,) if isinstance(layer, nn.Linear) else (layer.in_channels, 6, 6)
    x = torch.randn(30, *size, dtype=torch.float64).cumsum(1)
    model = nn.Sequential(layer).double()
    weight = layer.weight.detach().clone()
    inputs = caught_inputs(model, "0", [x], output_sum)
    groups, per_group = len(inputs), weight.shape[0] // len(inputs)
    # Groups of M are neighbouring input channels of one kernel position.
    swap = np.arange(weight[0].numel()).reshape(weight.shape[1], -1).T.ravel()
    h = np.stack([hessian(one[:, swap]) for one in inputs])
    flat = weight.flatten(1).numpy().reshape(groups, per_group, -1)[..., swap]
    keep, new = column_by_column(flat, h, np.zeros((groups, flat.shape[-1]), bool), 0, 8, pattern)
    n, m = pattern
    masks = prune(model, f"sparsegpt/{n}:{m}", sparsity=1 - n / m, data=[x], loss=output_sum, block=10)
    assert np.array_equal(masks["0.weight"].flatten(1).numpy().reshape(keep.shape)[..., swap], keep)
    found = layer.weight.detach().flatten(1).numpy().reshape(keep.shape)[..., swap]
    np.testing.assert_allclose(found, new, rtol=1e-6, atol=1e-12)


def test_dead_inputs_lose_their_weights_and_the_count_is_exact():
    torch.manual_seed(0)
    x = torch.randn(40, 12)
    x[:, [0, 1, 2, 3, 7]] = 0
    for sparsity in (0.2, 0.5, 0.9):
        for method in METHODS:
            model = nn.Linear(12, 10)
            masks = prune(model, method, sparsity=sparsity, data=[x], loss=output_sum)
            assert masks.kept == round((1 - sparsity) * 120)
            assert torch.isfinite(model.weight).all()
            if method == "sparsegpt":
                assert (model.weight[:, [0, 1, 2, 3, 7]] == 0).all()
    model = nn.Linear(12, 10)
    assert prune(model, "sparsegpt", sparsity=0.5, data=[torch.zeros(3, 12)], loss=output_sum).kept == 60
    assert (model.weight == 0).all()


# All three


@pytest.mark.parametrize("kind", NETWORKS)
def test_raw_scores_are_those_of_the_dense_network(kind):
    model = network(kind).eval()
    found = {method: scores(model, method, batches()) for method in METHODS}
    for name, param in scope_of(model).prunable.items():
        x = caught_inputs(model, name.rpartition(".")[0], batches(), cross_entropy)
        for g, rows in enumerate(np.split(param.detach().double().numpy().reshape(len(param), -1), len(x))):
            h, norm = hessian(x[g]), np.linalg.norm(x[g], axis=0)
            later = np.array([np.linalg.inv(h[c:, c:])[0, 0] for c in range(len(h))])
            alive = norm > 0
            expected = {
                "wanda": abs(rows) * norm,
                "sparsegpt": (rows * alive) ** 2 / later,
                "obc": rows**2 / (2 * np.diag(np.linalg.inv(h))),
            }
            for method, score in expected.items():
                got = np.split(found[method][name].reshape(len(param), -1), len(x))[g]
                np.testing.assert_allclose(got, score, rtol=1e-4, atol=1e-4 * score.max())


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("method", ["wanda", "wanda/global", "sparsegpt", "sparsegpt/erk", "obc", "obc/row"])
def test_counts_are_exact_and_masks_nested(kind, method):
    model = network(kind).eval()
    before = None
    for sparsity in (0.5, 0.9, 0.98):
        masks = prune(model, method, sparsity=sparsity, data=batches(), masks=before)
        assert masks.kept == round((1 - sparsity) * masks.total)
        assert all((model.get_parameter(name)[~mask] == 0).all() for name, mask in masks.items())
        assert before is None or masks.nested_in(before)
        rule = method.partition("/")[2] or {"wanda": "row"}.get(method, "uniform")
        if rule != "global":
            assert masks.counts == magnitude_counts(network(kind), sparsity, rule).counts
        before = masks


@pytest.mark.parametrize("method", METHODS)
def test_a_global_ranking_gives_the_counts_of_the_dense_networks_scores(method):
    model = network("vgg").eval()
    expected = select(scores(model, method, batches()), 0.3, allocation="global").counts
    assert prune(model, f"{method}/global", sparsity=0.7, data=batches()).counts == expected


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("method", METHODS)
def test_two_of_four(kind, method):
    """Also nested in masks that left less than two in some groups; layers it does not fit stay dense."""
    model = network(kind).eval()
    first = prune(model, "magnitude", sparsity=0.2)
    masks = prune(model, f"{method}/2:4", sparsity=0.5, data=batches(), masks=first)
    assert masks.nested_in(first)
    for name, mask in masks.items():
        if mask.shape[1] % 4:
            assert torch.equal(mask, first[name])
        else:
            groups, alive = (m.movedim(1, -1).reshape(-1, 4).sum(1) for m in (mask, first[name]))
            assert torch.equal(groups, alive.clamp(max=2))


@pytest.mark.parametrize("method", ["wanda", "obc"])
def test_a_masked_network_is_pruned_like_the_smaller_one(method):
    """Inputs that earlier masks cut off take no part."""
    torch.manual_seed(4)
    x = torch.randn(60, 10, dtype=torch.float64).cumsum(1)
    whole, part = nn.Linear(10, 6).double(), nn.Linear(6, 6).double()
    left = [0, 2, 3, 5, 8, 9]
    mask = torch.zeros(6, 10, dtype=torch.bool)
    mask[:, left] = True
    with torch.no_grad():
        part.weight.copy_(whole.weight[:, left])
        whole.weight.masked_fill_(~mask, 0.0)
    options = {"loss": output_sum} | ({} if method == "wanda" else {"damp": 0.0})  # damping is by the mean diagonal
    big = prune(whole, method, sparsity=1 - 18 / 60, data=[x], masks=Masks({"weight": mask}), **options)
    small = prune(part, method, sparsity=0.5, data=[x[:, left]], **options)
    assert torch.equal(big["weight"][:, left], small["weight"])
    torch.testing.assert_close(whole.weight[:, left], part.weight, rtol=1e-6, atol=1e-9)


def test_sparsegpt_passes_on_what_a_masked_weight_was_given():
    """A masked weight takes part in the compensation until its column comes; then it is 0 again."""
    torch.manual_seed(4)
    x, model = torch.randn(60, 10, dtype=torch.float64).cumsum(1), nn.Linear(10, 6).double()
    first = prune(model, "magnitude", sparsity=0.3)
    weight, h = model.weight.detach().numpy()[None].copy(), hessian(x.numpy())[None]
    keep, new = column_by_column(weight, h, np.zeros((1, 10), bool), 20, 4, alive=first["weight"].numpy()[None])
    masks = prune(model, "sparsegpt", sparsity=2 / 3, data=[x], loss=output_sum, masks=first, block=4)
    assert np.array_equal(masks["weight"], keep[0])
    np.testing.assert_allclose(model.weight.detach(), new[0], rtol=1e-6, atol=1e-12)


def output_error(method: str, seed: int, correlation: float) -> float:
    """Mean squared change of one layer's outputs at 50 %; neighbouring inputs correlate, and their norms differ."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(400, 32, generator=generator)
    for j in range(1, 32):
        x[:, j] = correlation * x[:, j - 1] + (1 - correlation**2) ** 0.5 * x[:, j]
    x *= torch.rand(32, generator=generator).mul(2).exp()
    model = nn.Linear(32, 16)
    with torch.no_grad():
        model.weight.copy_(torch.randn(16, 32, generator=generator))
        before = model(x)
        prune(model, method, sparsity=0.5, data=[x], loss=output_sum)
        return float((model(x) - before).square().mean())


@pytest.mark.parametrize("pattern", ["", "/2:4"])
@pytest.mark.parametrize("correlation", [0.5, 0.9])
def test_output_errors_are_in_the_order_of_the_methods(pattern, correlation):
    obc, sparsegpt, wanda, magnitude = (
        np.array([output_error(method + pattern, seed, correlation) for seed in range(6)])
        for method in ("obc", "sparsegpt", "wanda", "magnitude")
    )
    assert obc.mean() <= sparsegpt.mean()
    assert (sparsegpt <= wanda).all()
    assert (wanda <= magnitude).all()


@pytest.mark.parametrize("method", METHODS)
def test_independent_inputs_of_equal_norm_leave_magnitude(method):
    """With H a multiple of the identity nothing can be made up for, and |w| decides."""
    model, plain = nn.Linear(8, 5), nn.Linear(8, 5)
    plain.load_state_dict(model.state_dict())
    rule = "row" if method == "wanda" else "uniform"
    masks = prune(model, method, sparsity=0.5, data=[3 * torch.eye(8)], loss=output_sum)
    if method == "wanda":
        assert masks.counts == prune(plain, "magnitude/row", sparsity=0.5).counts
    assert masks == prune(plain, f"magnitude/{rule}", sparsity=0.5)
    torch.testing.assert_close(model.weight, plain.weight)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_to_remove_changes_nothing(method):
    model, other = network("resnet8"), network("resnet8")
    assert prune(model, method, sparsity=0.0, data=batches()).sparsity == 0
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_layers_see_what_the_pruned_ones_before_give(method):
    """The second layer keeps the input that the first still feeds, though it was the weaker one before."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.6, 0.6]]))
        model[1].weight.copy_(torch.tensor([[1.0, 1.0]]))
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.5, 1.0]])
    masks = prune(model, f"{method}/uniform" if method == "wanda" else method, sparsity=0.5, data=[x], loss=output_sum)
    with torch.no_grad():
        hidden = model[0](x).square().sum(0)
    kept = masks["1.weight"][0]
    assert hidden[kept].item() >= hidden[~kept].item()


@pytest.mark.parametrize("method", METHODS)
def test_attention_and_grouped_convolutions(method):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 8, 2, stride=2, groups=2)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            tokens = self.conv(x).flatten(2).mT
            return self.attention(tokens, tokens, tokens)[0]

    torch.manual_seed(0)
    x, errors = torch.randn(30, 4, 8, 8).cumsum(1).cumsum(2), {}
    for name in (method, "magnitude/uniform"):
        torch.manual_seed(1)
        model = Net().eval()
        before = model(x).detach()
        masks = prune(model, name, sparsity=0.5, data=[x], loss=output_sum)
        assert set(masks) == {"conv.weight", "attention.in_proj_weight", "attention.out_proj.weight"}
        assert masks.kept == round(0.5 * masks.total)
        errors[name] = float((model(x).detach() - before).square().mean())
    if method != "wanda":  # which only chooses, row by row
        assert errors[method] < errors["magnitude/uniform"]


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("sparsegpt", {"damp": -1}, "damp=-1"),
        ("obc", {"damp": "a"}, "damp='a'"),
        ("sparsegpt", {"block": 0}, "block=0"),
        ("sparsegpt/row", {}, "goes with uniform"),
        ("obc/block4x4", {}, "goes with uniform"),
        ("wanda", {"data": []}, "no batches"),
        ("sparsegpt", {"data": None}, "needs data"),
        ("sparsegpt", {"damp": 0}, "singular.*raise damp"),
        ("obc", {"damp": 0}, "singular.*raise damp"),
    ],
)
def test_mistakes(method, arguments, message):
    model = network("mlp")
    weights = [p.clone() for p in model.parameters()]
    with pytest.raises(UsageError, match=message):
        prune(model, method, sparsity=0.5, **{"data": batches(), **arguments})
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), weights, strict=True))


def test_a_network_that_overflows_is_named():
    model = network("mlp")
    with torch.no_grad():
        model.fc1.bias[0] = torch.inf
    with pytest.raises(NonFiniteScore, match=r"inputs of 'fc2\.weight'"):
        prune(model, "sparsegpt", sparsity=0.5, data=batches())
