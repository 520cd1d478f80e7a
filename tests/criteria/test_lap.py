"""LAP against sums written out by hand from the known structure of each network, and against its meaning."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from sparsebench.criteria.lap import lookahead
from sparsebench.functional import scores
from sparsebench.scope import scope_of
from sparsebench.selection import select
from tests.networks import NETWORKS, batches, network

Arrays = dict[str, np.ndarray]


def arrays(net: nn.Module) -> Arrays:
    return {name: t.detach().double().numpy() for name, t in net.state_dict().items()}


def rows(w: np.ndarray) -> np.ndarray:
    """Squares of all weights of each output."""
    return (w**2).sum(axis=tuple(range(1, w.ndim)))


def columns(w: np.ndarray) -> np.ndarray:
    """Squares of all weights of each input."""
    return (w**2).sum(axis=(0, *range(2, w.ndim)))


def norm(state: Arrays, name: str) -> np.ndarray:
    """Squared factor of a batch norm; eps is torch's default."""
    return state[f"{name}.weight"] ** 2 / (state[f"{name}.running_var"] + 1e-5)


def score(w: np.ndarray, before: np.ndarray | float, after: np.ndarray | float) -> np.ndarray:
    """``w^2 before after`` over its mean, by einsum; ``before`` has one entry an input, ``after`` one an output."""
    outputs, inputs = w.shape[:2]
    s = np.einsum("oi...,o,i->oi...", w**2, np.broadcast_to(after, outputs), np.broadcast_to(before, inputs))
    return s / s.mean()


def expected_mlp(s: Arrays) -> Arrays:
    one, two, last = s["fc1.weight"], s["fc2.weight"], s["classifier.weight"]
    return {
        "fc1.weight": score(one, 1, columns(two)),
        "fc2.weight": score(two, rows(one), columns(last)),
        "classifier.weight": score(last, rows(two), 1),
    }


def expected_vgg(s: Arrays) -> Arrays:
    names = [n for n in s if n.endswith(".weight") and s[n].ndim == 4]
    factors = [norm(s, n.replace("conv", "bn").removesuffix(".weight")) for n in names]
    found = {}
    for k, name in enumerate(names):
        before = rows(s[names[k - 1]]) * factors[k - 1] if k else 1
        following = s[names[k + 1]] if k + 1 < len(names) else s["classifier.weight"]
        found[name] = score(s[name], before, factors[k] * columns(following))
    found["classifier.weight"] = score(s["classifier.weight"], rows(s[names[-1]]) * factors[-1], 1)
    return found


def expected_resnet8(s: Arrays) -> Arrays:
    """Stem, a block with an identity shortcut, two with a projection, classifier."""
    a, b, c = "stages.0.0", "stages.1.0", "stages.2.0"
    w = {n: s[f"{n}.weight"] for n in ("conv", "classifier")}
    w |= {f"{x}.{n}": s[f"{x}.{n}.weight"] for x in (a, b, c) for n in ("conv1", "conv2")}
    w |= {f"{x}.shortcut.0": s[f"{x}.shortcut.0.weight"] for x in (b, c)}
    stem = rows(w["conv"]) * norm(s, "bn")
    out_a = rows(w[f"{a}.conv2"]) * norm(s, f"{a}.bn2") + 1
    out_b, out_c = (
        rows(w[f"{x}.conv2"]) * norm(s, f"{x}.bn2") + rows(w[f"{x}.shortcut.0"]) * norm(s, f"{x}.shortcut.1")
        for x in (b, c)
    )
    into_a = columns(w[f"{a}.conv1"]) + 1
    into_b, into_c = (columns(w[f"{x}.conv1"]) + columns(w[f"{x}.shortcut.0"]) for x in (b, c))
    into_last = columns(w["classifier"])
    found = {"conv": score(w["conv"], 1, norm(s, "bn") * into_a)}
    for x, before, after in ((a, stem, into_b), (b, out_a, into_c), (c, out_b, into_last)):
        first, second = w[f"{x}.conv1"], w[f"{x}.conv2"]
        found[f"{x}.conv1"] = score(first, before, norm(s, f"{x}.bn1") * columns(second))
        found[f"{x}.conv2"] = score(second, rows(first) * norm(s, f"{x}.bn1"), norm(s, f"{x}.bn2") * after)
        if x != a:
            shortcut = w[f"{x}.shortcut.0"]
            found[f"{x}.shortcut.0"] = score(shortcut, before, norm(s, f"{x}.shortcut.1") * after)
    found["classifier"] = score(w["classifier"], out_c, 1)
    return {f"{name}.weight": value for name, value in found.items()}


def expected_vit(s: Arrays) -> Arrays:
    """Only fc1 -> activation -> fc2 is a chain; all else is magnitude squared."""
    found = {n: score(s[n], 1, 1) for n in s if n.endswith("weight") and s[n].ndim > 1}
    one, two = s["blocks.0.fc1.weight"], s["blocks.0.fc2.weight"]
    return found | {
        "blocks.0.fc1.weight": score(one, 1, columns(two)),
        "blocks.0.fc2.weight": score(two, rows(one), 1),
    }


EXPECTED = {"mlp": expected_mlp, "vgg": expected_vgg, "resnet8": expected_resnet8, "vit": expected_vit}


def lively(net: nn.Module) -> nn.Module:
    """Batch norms whose factors differ from channel to channel and from 1."""
    torch.manual_seed(11)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -2, 2)
            nn.init.uniform_(module.running_var, 0.2, 3)
            nn.init.normal_(module.running_mean)
    return net


@pytest.mark.parametrize("kind", NETWORKS)
def test_scores_are_the_sums_written_out_from_the_structure(kind):
    net = lively(network(kind))
    raw = scores(net, "lap", batches())
    expected = EXPECTED[kind](arrays(net))
    assert raw.keys() == expected.keys() == scope_of(net).prunable.keys()
    for name, value in raw.items():
        np.testing.assert_allclose(value.numpy(), expected[name], rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("layers", [2, 3])
def test_on_a_linear_network_it_is_the_change_of_the_product_when_the_weight_is_removed(layers):
    torch.manual_seed(0)
    sizes = [4, 5, 3, 6][: layers + 1]
    net = nn.Sequential(*[nn.Linear(a, b, bias=False) for a, b in pairwise(sizes)]).double()
    weights = [layer.weight.detach() for layer in net]

    def product(changed: list) -> torch.Tensor:
        return torch.linalg.multi_dot(changed[::-1])

    middle = 1
    raw = scores(net, "lap", [torch.randn(3, 4, dtype=torch.float64)], loss=lambda model, x: model(x).sum())
    distortion = torch.zeros_like(weights[middle])
    for i, j in np.ndindex(*distortion.shape):
        pruned = [w.clone() for w in weights]
        pruned[middle][i, j] = 0
        distortion[i, j] = (product(pruned) - product(weights)).square().sum()
    torch.testing.assert_close(raw[f"{middle}.weight"], distortion / distortion.mean())


def normed(features: int) -> nn.Module:
    layer = nn.BatchNorm2d(features)
    nn.init.normal_(layer.weight)
    nn.init.uniform_(layer.running_var, 0.1, 4)
    return layer


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_with_batch_norm_it_is_the_change_of_the_scaled_product(kind, groups):
    """On images of one pixel a convolution is a matrix."""
    torch.manual_seed(0)
    middle = kind(6, 4, 1, groups=groups, bias=False)
    net = nn.Sequential(nn.Conv2d(4, 6, 1, bias=False), normed(6), middle, normed(4), nn.Conv2d(4, 5, 1, bias=False))
    net, x = net.double().eval(), torch.zeros(1, 4, 1, 1, dtype=torch.float64)

    def product() -> torch.Tensor:
        return torch.autograd.functional.jacobian(net, x).squeeze()

    raw = scores(net, "lap", [x], loss=lambda model, x: model(x).sum())
    weight, whole = middle.weight.data, product()
    distortion = torch.zeros_like(weight)
    for index in np.ndindex(*weight.shape):
        value = weight[index].item()
        weight[index] = 0
        distortion[index] = (product() - whole).square().sum()
        weight[index] = value
    torch.testing.assert_close(raw["2.weight"], distortion / distortion.mean())


def test_a_weight_used_twice_counts_in_both_products():
    torch.manual_seed(0)
    shared = nn.Linear(4, 4, bias=False)
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(4, 2))
    first, middle, last = (net[i].weight.detach().double().numpy() for i in (0, 2, 6))
    once = np.outer(columns(middle), rows(first))
    twice = np.outer(columns(last), rows(middle))
    s = middle**2 * (once + twice)
    raw = scores(net, "lap", [(torch.randn(1, 4), torch.zeros(1, dtype=torch.long))])
    np.testing.assert_allclose(raw["2.weight"].numpy(), s / s.mean(), rtol=1e-9)


def test_scores_of_a_layer_have_mean_one_and_a_dead_layer_has_none():
    net = network("mlp")
    net.fc2.weight.data.zero_()
    raw = scores(net, "lap", batches())
    # Nothing passes the dead layer, so nothing before or after it matters.
    assert all(bool((value == 0).all()) for value in raw.values())
    for value in scores(network("resnet8"), "lap", batches()).values():
        assert float(value.mean()) == pytest.approx(1)


def test_extreme_weights_do_not_overflow():
    net = network("mlp")
    for weight, size in ((net.fc1.weight, 1e30), (net.fc2.weight, 1e-30), (net.classifier.weight, 1e30)):
        weight.data *= size
    for got, plain in zip(
        scores(net, "lap", batches()).values(), scores(network("mlp"), "lap", batches()).values(), strict=True
    ):
        torch.testing.assert_close(got, plain, rtol=1e-5, atol=0)


def test_scale_of_a_layer_does_not_change_which_weights_go():
    net = network("vgg")
    masks = select(scores(net, "lap", batches()), 0.1)
    net.features.conv2_1.weight.data *= 2.0**10
    assert select(scores(net, "lap", batches()), 0.1) == masks


def test_the_input_does_not_matter():
    net, (first, second) = network("resnet8"), batches()
    for a, b in zip(scores(net, "lap", [first]).values(), scores(net, "lap", [second]).values(), strict=True):
        assert torch.equal(a, b)


def test_lookahead_by_eye():
    weight, factor = torch.tensor([[1.0, -2.0], [0.0, 1.0]]), torch.tensor([[1.0, 2.0], [9.0, 3.0]])
    assert lookahead(weight, factor).tolist() == [[1 / 3, 8 / 3], [0.0, 1.0]]
