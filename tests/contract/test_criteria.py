"""Every criterion, on every kind of network: exact counts, and scores against another computation of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.functional import hvp
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from sparsebench.allocation import allocation
from sparsebench.audit import exact_count
from sparsebench.criteria import is_structured, split_method
from sparsebench.errors import UsageError
from sparsebench.functional import pruning, scores
from sparsebench.masks import Masks
from sparsebench.registry import criterion
from sparsebench.scope import scope_of
from sparsebench.selection import select
from sparsebench.submission.rule import Report
from sparsebench.submission.score_rules import RULES, Scored
from tests.networks import NETWORKS, batches, network

SPARSITIES = [0.0, 0.5, 0.9, 0.98]


def sensible(name: str, rule: str) -> bool:
    try:
        split_method(f"{name}/{rule}")
    except UsageError:
        return False
    return True


SINGLE = [name for name in criterion.names() if not is_structured(name)]
COMBINATIONS = [(c, a) for c in SINGLE for a in (*allocation.names(), "2:4", "block2x2") if sensible(c, a)]


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("name", SINGLE)
def test_counts_are_exact_under_every_allocation_and_masks_nested(kind, name):
    net = network(kind)
    raw = scores(net, name, batches())
    assert all(torch.isfinite(score).all() for score in raw.values())
    for rule in [a for c, a in COMBINATIONS if c == name]:
        masks = None
        for sparsity in [0.5] if rule == "2:4" else [0.0, 0.3] if rule == "uniform+" else SPARSITIES:
            smaller = select(raw, 1 - sparsity, allocation=rule, masks=masks)
            assert exact_count(smaller, sparsity, rule)[0], rule
            assert masks is None or smaller.nested_in(masks)
            masks = smaller


@pytest.mark.parametrize("name", criterion.names())
def test_keeps_the_rules_that_a_user_s_method_must_keep(name):
    """Deterministic, exact, nested, nothing left changed, float64, equal on all ranks and more."""
    report = Report(name)
    report.look(RULES, Scored(name, networks=("resnet8",) if is_structured(name) else ("mlp", "vit")), name)
    assert report.passed, [(verdict.rule, verdict.faults) for verdict in report.failures]
    assert {verdict.state for verdict in report.verdicts} <= {"passed", "n/a"}


def test_ties_are_cut_in_parameter_order_then_flat_index():
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False))
    for weight in net.parameters():
        nn.init.constant_(weight, 0.5)
    masks = pruning(net, "magnitude", sparsity=0.75).masks
    # Five of twenty are kept; one of them is the floor's, the first of the second tensor.
    assert masks["0.weight"].flatten().nonzero().flatten().tolist() == [0, 1, 2, 3]
    assert masks["1.weight"].flatten().nonzero().flatten().tolist() == [0]


# Scores against other computations, in float64.


def small(bias: bool = True) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6, bias=bias), nn.Tanh(), nn.Linear(6, 10, bias=bias)).double()


def in_double(data):
    return [(x.double(), y) for x, y in data]


def joined(data):
    return torch.cat([x for x, _ in data]), torch.cat([y for _, y in data])


def loss_at(net, values, temperature=1.0):
    """The loss as a function of the weights, through a plain functional call."""
    x, y = joined(in_double(batches()))
    return cross_entropy(functional_call(net, values, (x,)) / temperature, y)


def finite_difference(function, values: dict, name: str, index: tuple, step: float = 1e-5) -> float:
    ends = []
    for sign in (1, -1):
        moved = {n: v.clone() for n, v in values.items()}
        moved[name][index] += sign * step
        ends.append(function(moved))
    return float((ends[0] - ends[1]) / (2 * step))


@pytest.mark.parametrize("name", ["snip", "gradient"])
def test_gradient_scores_are_finite_differences_of_the_loss(name):
    net = small()
    values = {n: p.detach() for n, p in net.named_parameters()}
    raw = scores(net, name, in_double(batches()))
    for tensor, index in (("1.weight", (0, 5)), ("1.weight", (3, 40)), ("3.weight", (9, 2))):
        slope = finite_difference(lambda v: loss_at(net, v), values, tensor, index)
        assert float(raw[tensor][index]) == pytest.approx(abs(slope * float(values[tensor][index])), rel=1e-4)


def test_snip_and_gradient_agree_where_the_mode_makes_no_difference():
    net = network("mlp")
    assert select(scores(net, "snip", batches()), 0.1) == select(scores(net, "gradient", batches()), 0.1)


def test_magnitude_is_the_absolute_weight():
    net = network("resnet8")
    for name, score in scores(net, "magnitude").items():
        np.testing.assert_array_equal(score.numpy(), np.abs(net.get_parameter(name).detach().numpy()))


def hessian_gradient(net, values: dict, names: list[str], temperature: float) -> dict:
    """H g over the named tensors by torch's own Hessian-vector product."""
    fixed = {n: v for n, v in values.items() if n not in names}

    def loss(*tensors):
        return loss_at(net, {**fixed, **dict(zip(names, tensors, strict=True))}, temperature)

    inputs = tuple(values[n].clone().requires_grad_() for n in names)
    g = torch.autograd.grad(loss(*inputs), inputs)
    return dict(zip(names, hvp(loss, inputs, g)[1], strict=True))


def test_grasp_is_the_weight_times_the_hessian_gradient_product():
    net = small()
    values = {n: p.detach() for n, p in net.named_parameters()}
    for temperature in (200.0, 1.0):
        raw = scores(net, "grasp", in_double(batches()), temperature=temperature)
        for name, product in hessian_gradient(net, values, list(raw), temperature).items():
            expected = values[name] * product
            assert float((raw[name] - expected).norm() / expected.norm()) < 1e-4


def test_removing_the_lowest_grasp_scores_hurts_the_gradient_flow_least():
    net = small()
    values = {n: p.detach() for n, p in net.named_parameters()}
    raw = scores(net, "grasp", in_double(batches()), temperature=1.0)

    def flow(changed: dict) -> float:
        weights = {n: v.clone().requires_grad_() for n, v in changed.items()}
        grads = torch.autograd.grad(loss_at(net, weights), [weights[n] for n in raw])
        return float(sum(g.square().sum() for g in grads))

    flat = torch.cat([s.flatten() for s in raw.values()])
    change = {}
    for end, threshold in (("lowest", flat.quantile(0.05)), ("highest", flat.quantile(0.95))):
        removed = dict(values)
        for name, score in raw.items():
            gone = score <= threshold if end == "lowest" else score >= threshold
            removed[name] = values[name].masked_fill(gone, 0.0)
        change[end] = flow(removed) - flow(values)
    assert change["lowest"] > 0 > change["highest"]


def test_synflow_is_the_sum_over_paths_of_absolute_weights():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False), nn.Linear(2, 3, bias=False))
    a, b, c = (np.abs(p.detach().double().numpy()) for p in net.parameters())
    expected = {n: np.zeros_like(w) for n, w in zip(("0.weight", "1.weight", "2.weight"), (a, b, c), strict=True)}
    for i, j, k, o in np.ndindex(3, 4, 2, 3):
        path = a[j, i] * b[k, j] * c[o, k]
        expected["0.weight"][j, i] += path
        expected["1.weight"][k, j] += path
        expected["2.weight"][o, k] += path
    for name, score in scores(net, "synflow", [torch.randn(5, 3)]).items():
        np.testing.assert_allclose(score.numpy(), expected[name], rtol=1e-10)


def deep(depth: int, width: int, *extra: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), *[nn.Linear(width, width) for _ in range(depth)], *extra)


def test_synflow_never_empties_a_layer_where_snip_does():
    net = nn.Sequential(
        *[m for i in range(8) for m in (nn.Linear(64 if i else 256, 64, bias=False), nn.ReLU())], nn.Linear(64, 10)
    )
    torch.manual_seed(1)
    for layer in net[::2]:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    data = [(torch.randn(20, 256), torch.randint(0, 10, (20,)))]
    assert not pruning(net, "synflow", sparsity=0.999, data=data).masks.emptied
    assert pruning(net, "snip", sparsity=0.999, data=data).masks.emptied


def test_synflow_does_not_overflow_in_a_deep_wide_network():
    net = deep(30, 200)
    for layer in net[1:]:
        nn.init.normal_(layer.weight)
    raw = scores(net, "synflow", [torch.randn(2, 64)])
    flow = [float(score.sum()) for score in raw.values()]
    assert all(np.isfinite(flow))
    assert max(flow) > torch.finfo(torch.float32).max


@pytest.mark.parametrize("kind", ["mlp", "vgg"])
def test_lamp_against_a_quadratic_loop(kind):
    net = network(kind).double()
    for name, score in scores(net, "lamp").items():
        if score.numel() > 1500:
            continue
        w = net.get_parameter(name).detach().flatten().numpy()
        rank = {int(u): r for r, u in enumerate(np.argsort(-np.abs(w), kind="stable"))}
        above = [sum(w[v] ** 2 for v in range(len(w)) if rank[v] <= rank[u]) for u in range(len(w))]
        np.testing.assert_allclose(score.flatten().numpy(), w**2 / np.array(above), rtol=1e-9)


def test_the_top_lamp_score_of_each_layer_is_exactly_one_and_no_layer_is_emptied():
    net = network("resnet8")
    for weight in net.parameters():
        weight.data *= 10 ** float(torch.randn(()) * 4)
    raw = scores(net, "lamp")
    assert all(float(score.max()) == 1.0 for score in raw.values())
    assert not select(raw, len(raw) / scope_of(net).size).emptied


def test_lamp_ranks_within_a_layer_as_magnitude_also_among_ties():
    weight = torch.tensor([0.0, 1.0, -1.0, 2.0, 1.0, 0.0])
    order = criterion.get("lamp")(weight).argsort(descending=True, stable=True)
    assert order.tolist() == weight.abs().argsort(descending=True, stable=True).tolist()


def test_random_scores_depend_on_the_seed_alone():
    net, other = network("mlp"), network("mlp")
    nn.init.zeros_(other.fc1.weight)
    torch.manual_seed(17)
    first = Masks({n: s > 0.5 for n, s in scores(net, "random", seed=1).items()})
    torch.manual_seed(18)
    assert Masks({n: s > 0.5 for n, s in scores(other, "random", seed=1).items()}) == first
    assert Masks({n: s > 0.5 for n, s in scores(net, "random", seed=2).items()}) != first
