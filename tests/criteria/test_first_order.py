"""SNIP, gradient, GraSP, SynFlow, LAMP and magnitude on every kind of network, against computations of another kind."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from sparsebench.functional import scores
from sparsebench.scope import scope_of
from tests.networks import NETWORKS, batches, network

KINDS = pytest.mark.parametrize("kind", NETWORKS)


def trained_looking(kind: str) -> nn.Module:
    """In double precision, with batch-norm statistics and factors that are not those of a fresh network."""
    net, generator = network(kind).double(), torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype))
    return net


def in_double():
    return [(x.double(), y) for x, y in batches()]


def assert_close(found: dict, expected: dict) -> None:
    for name, value in expected.items():
        assert float((found[name] - value).norm()) <= 1e-4 * float(value.norm()), name


@KINDS
def test_gradient_is_the_mean_over_single_examples(kind):
    net = trained_looking(kind)
    reference, total = deepcopy(net).eval(), None
    examples = [(x[i : i + 1], y[i : i + 1]) for x, y in in_double() for i in range(len(y))]
    params = scope_of(reference).prunable
    for x, y in examples:
        grads = torch.autograd.grad(cross_entropy(reference(x), y), list(params.values()))
        total = grads if total is None else [a + b for a, b in zip(total, grads, strict=True)]
    expected = {n: (w.detach() * g / len(examples)).abs() for (n, w), g in zip(params.items(), total, strict=True)}
    assert_close(scores(net, "gradient", in_double()), expected)


@KINDS
def test_snip_is_the_slope_of_the_loss_along_a_gate_on_each_weight(kind):
    """The definition: a gate c multiplies every weight, the score is |dL/dc| at c = 1, in training mode."""
    net, data = trained_looking(kind), in_double()[:1]
    reference = deepcopy(net).train()
    params = scope_of(reference).prunable
    gates = {n: torch.ones_like(p, requires_grad=True) for n, p in params.items()}
    gated = {n: p.detach() * gates[n] for n, p in params.items()}
    (x, y), *_ = data
    slopes = torch.autograd.grad(cross_entropy(functional_call(reference, gated, (x,)), y), list(gates.values()))
    assert_close(scores(net, "snip", data), {n: s.abs() for n, s in zip(gates, slopes, strict=True)})


@KINDS
def test_grasp_is_the_change_of_the_gradient_along_itself(kind):
    """H g by a central difference of gradients: (g(w + e g) - g(w - e g)) / 2e."""
    net, data = trained_looking(kind), in_double()[:1]
    (x, y), *_ = data
    params = {n: p.detach() for n, p in scope_of(net).prunable.items()}

    def gradient_at(values: dict) -> list:
        leaves = {n: v.clone().requires_grad_() for n, v in values.items()}
        with sdpa_kernel(SDPBackend.MATH):
            loss = cross_entropy(functional_call(deepcopy(net).train(), leaves, (x,)) / 200.0, y)
        return torch.autograd.grad(loss, list(leaves.values()))

    g = gradient_at(params)
    # Small, so that few rectifiers switch between the two ends.
    step = 1e-7 / float(torch.cat([part.flatten() for part in g]).norm())
    ends = [
        gradient_at({n: v + sign * step * part for (n, v), part in zip(params.items(), g, strict=True)})
        for sign in (1, -1)
    ]
    expected = {n: v * (a - b) / (2 * step) for (n, v), a, b in zip(params.items(), *ends, strict=True)}
    assert_close(scores(net, "grasp", data), expected)


@KINDS
def test_synflow_is_a_difference_quotient_of_the_flow(kind):
    net = trained_looking(kind)
    reference = deepcopy(net).eval()
    with torch.no_grad():
        for tensor in (*reference.parameters(), *reference.buffers()):
            if tensor.is_floating_point():
                tensor.abs_()
    raw, ones = scores(net, "synflow", in_double()), torch.ones(1, 1, 8, 8, dtype=torch.float64)
    generator = np.random.default_rng(0)
    with torch.no_grad():
        for name, weight in scope_of(reference).prunable.items():
            flat = weight.view(-1)
            for index in generator.integers(0, flat.numel(), 3):
                value, step = float(flat[index]), 1e-4 * max(float(flat[index]), 1e-2)
                flat[index] = value + step
                high = float(reference(ones).sum())
                flat[index] = value - step
                low = float(reference(ones).sum())
                flat[index] = value
                expected = value * abs(high - low) / (2 * step)
                assert float(raw[name].view(-1)[index]) == pytest.approx(expected, rel=1e-4, abs=1e-9), name


@KINDS
def test_lamp_by_sorting_upwards(kind):
    """The paper's way: squares in ascending order, each over the sum of itself and all after it."""
    net = trained_looking(kind)
    for name, score in scores(net, "lamp").items():
        squares = net.get_parameter(name).detach().numpy().ravel() ** 2
        order = np.argsort(-squares, kind="stable")[::-1]  # among equals the first counts as larger
        after = np.cumsum(squares[order][::-1])[::-1]
        expected = np.empty_like(squares)
        expected[order] = squares[order] / after
        np.testing.assert_allclose(score.numpy().ravel(), expected, rtol=1e-4)


@KINDS
def test_magnitude_is_the_root_of_the_square(kind):
    net = trained_looking(kind)
    for name, score in scores(net, "magnitude").items():
        np.testing.assert_allclose(score.numpy(), np.sqrt(net.get_parameter(name).detach().numpy() ** 2), rtol=1e-12)
