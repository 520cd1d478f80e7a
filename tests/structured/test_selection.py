"""Which units go: the fewest, in the order of the scores, nested, and none of the last."""

from __future__ import annotations

from copy import deepcopy
from fractions import Fraction

import pytest
import torch
from torch import nn

from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.scope import scope_of
from sparsebench.structured import (
    compose,
    misses,
    shrink,
    structured_count,
    structured_masks,
    unit_groups,
    unit_scores,
    units_of,
)
from tests.networks import NETWORKS, batches, network

KINDS = list(NETWORKS)
IMAGE = torch.randn(5, 1, 8, 8)


def kept_weights(net: nn.Module, kept: dict[str, torch.Tensor], groups) -> int:
    """Count by marking every entry of every removed unit, one after the other."""
    marked = {name: torch.ones_like(p) for name, p in scope_of(net).prunable.items()}
    for group in groups:
        for unit in (~kept[group.name]).nonzero().flatten().tolist():
            for member in group.of("filter", "input"):
                for entry in member.index[unit].tolist():
                    marked[member.name].select(member.dim, entry).zero_()
    return int(sum(m.sum() for m in marked.values()))


def removed_one_by_one(net: nn.Module, name: str, allocation: str, target: int) -> dict[str, torch.Tensor]:
    """Take the lowest unit that is not its group's best, until the target is met."""
    groups = unit_groups(net, IMAGE)
    scores = unit_scores(net, groups, name, batches())
    if allocation == "uniform":
        ranks = {n: sorted(range(len(s)), key=lambda u, s=s: -float(s[u])) for n, s in scores.items()}
        values = {
            n: [Fraction(2 * (len(s) - ranks[n].index(u)) - 1, 2 * len(s)) for u in range(len(s))]
            for n, s in scores.items()
        }
    else:
        means = {n: float(s.mean()) if name in ("l1", "l2", "fpgm") else 1.0 for n, s in scores.items()}
        values = {n: [float(x) / means[n] for x in s] for n, s in scores.items()}
    # Of equals the later group's and the higher index go first.
    queue = [(x, -g, -u) for g, v in enumerate(values.values()) for u, x in enumerate(v) if u != v.index(max(v))]
    kept = {group.name: torch.ones(group.size, dtype=torch.bool) for group in groups}
    for _, g, u in sorted(queue):
        if kept_weights(net, kept, groups) <= target:
            break
        kept[groups[-g].name][-u] = False
    return kept


@pytest.mark.parametrize("allocation", ["global", "uniform"])
@pytest.mark.parametrize("name", ["l1", "fpgm", "taylor"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_fewest_units_go_in_the_order_of_their_scores(kind, name, allocation):
    net = network(kind)
    size = scope_of(net).size
    for density in (0.8, 0.45):
        masks = structured_masks(net, IMAGE, name, density, allocation=allocation, data=batches())
        expected = removed_one_by_one(net, name, allocation, round(density * size))
        kept = units_of(net, masks, IMAGE)
        assert all(torch.equal(kept[n], expected[n]) for n in kept)
        assert structured_count(masks, scope_of(net)) == kept_weights(net, kept, unit_groups(net, IMAGE))
        assert misses(net, masks, IMAGE, density) is None


def test_masks_hold_biases_and_norms_and_make_every_removed_unit_zero():
    net = network("resnet8").eval()
    masks = structured_masks(net, IMAGE, "l1", 0.4)
    nn.init.ones_(net.bn.bias)
    masks.apply(net)
    with torch.no_grad():
        out = net.bn(net.conv(IMAGE))
    gone = ~units_of(net, masks, IMAGE)["conv.weight"]
    assert gone.any()
    assert torch.equal(out[:, gone], torch.zeros_like(out[:, gone]))
    assert torch.equal(masks["bn.weight"], ~gone)
    assert torch.equal(masks["stages.0.0.bn2.bias"], ~gone)
    assert set(scope_of(net).prunable) < set(masks)


@pytest.mark.parametrize("kind", KINDS)
def test_uniform_keeps_the_same_share_of_every_group_up_to_one_unit(kind):
    net = network(kind)
    kept = units_of(net, structured_masks(net, IMAGE, "l1", 0.5), IMAGE)
    shares = [(int(k.sum()) - slack) / len(k) for k in kept.values() for slack in (1, -1)]
    assert max(shares[::2]) < min(shares[1::2])
    assert any(not k.all() for k in kept.values())


def test_global_l1_does_not_depend_on_the_scale_of_a_layer_but_bn_scale_does():
    net, scaled = network("vgg"), network("vgg")
    with torch.no_grad():
        scaled.features.conv2_1.weight *= 100
        for model in (net, scaled):
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.weight.copy_(torch.linspace(0.5, 1, len(module.weight)))
        scaled.features.bn2_1.weight *= 100
    chosen = [structured_masks(model, IMAGE, "l1", 0.5, allocation="global") for model in (net, scaled)]
    assert chosen[0] == chosen[1]
    chosen = [structured_masks(model, IMAGE, "bn_scale", 0.5) for model in (net, scaled)]
    assert chosen[0] != chosen[1]
    assert chosen[1]["features.bn2_1.weight"].all()


def test_among_equal_scores_the_first_group_and_the_lowest_index_stay():
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 1, bias=False))
    for weight in net.parameters():
        nn.init.ones_(weight)
    masks = structured_masks(net, torch.ones(2, 4), "l1", 0.7, allocation="global")
    # 16 + 4 * 2 + 2 = 26 > 25 weights with two units of the second group gone, 16 + 4 + 1 = 21 with three.
    assert [k.tolist() for k in units_of(net, masks, torch.ones(2, 4)).values()] == [[True] * 4, [True] + [False] * 3]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["l1", "fpgm", "taylor"])
def test_two_steps_on_masks_and_two_physical_steps_are_the_same_and_nested(kind, name):
    net = network(kind).eval()
    first = structured_masks(net, IMAGE, name, 0.7, data=batches())
    second = structured_masks(net, IMAGE, name, 0.4, data=batches(), masks=first)
    assert second.nested_in(first)
    assert misses(net, second, IMAGE, 0.4) is None

    small = deepcopy(net)
    shrink(small, first, IMAGE)
    target = round(0.4 * scope_of(net).size)
    again = structured_masks(small, IMAGE, name, (target + 0.25) / scope_of(small).size, data=batches())
    assert compose(first, again) == second
    shrink(small, again, IMAGE)
    at_once = deepcopy(net)
    shrink(at_once, compose(first, again), IMAGE)
    for ours, theirs in zip(small.state_dict().values(), at_once.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_at_an_unchanged_density_nothing_more_goes():
    net = network("vgg")
    first = structured_masks(net, IMAGE, "l1", 0.5)
    assert structured_masks(net, IMAGE, "l1", 0.5, masks=first) == first
    dense = structured_masks(net, IMAGE, "l1", 1.0)
    assert all(mask.all() for mask in dense.values())
    assert misses(net, dense, IMAGE, 1.0) is None


def test_compose_refuses_masks_that_do_not_follow():
    first = Masks({"w": torch.tensor([True, True, False])})
    with pytest.raises(UsageError, match="not of the network"):
        compose(first, Masks({"w": torch.tensor([True, False, True])}))
    with pytest.raises(UsageError, match="not of the network"):
        compose(first, Masks({"v": torch.tensor([True, False])}))


def test_misses_names_what_is_wrong():
    net = network("mlp")
    masks = structured_masks(net, IMAGE, "l1", 0.5)
    assert "more than" in misses(net, masks, IMAGE, 0.4)
    assert "too few" in misses(net, masks, IMAGE, 0.6)
    single = Masks({n: m & (torch.arange(m.numel()).view(m.shape) != 70) for n, m in masks.items()})
    assert "product" in misses(net, single, IMAGE, 0.5)
    with pytest.raises(UsageError, match="no product of rows and columns"):
        structured_count(single, scope_of(net))


def test_one_unit_stays_in_every_group_and_less_is_refused():
    net = network("mlp")
    least = 64 + 1 + 10
    size = scope_of(net).size
    masks = structured_masks(net, IMAGE, "l1", least / size)
    assert [int(k.sum()) for k in units_of(net, masks, IMAGE).values()] == [1, 1]
    with pytest.raises(UsageError, match=rf"keeps {least}: the highest sparsity .* is 0\.9601"):
        structured_masks(net, IMAGE, "l1", (least - 1) / size)


def test_scores_that_are_not_finite_are_an_error_or_a_note():
    net = network("mlp")
    with torch.no_grad():
        net.fc1.weight[3, 0] = torch.nan
    with pytest.raises(UsageError, match=r"'fc1\.weight' are not finite"):
        structured_masks(net, IMAGE, "l1", 0.5)
    notes: list[str] = []
    masks = structured_masks(net, IMAGE, "l1", 0.5, allocation="global", notes=notes)
    assert notes == ["scores not finite"]
    assert not masks["fc1.bias"][3]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"density": 0.0}, "not in"),
        ({"density": 1.5}, "not in"),
        ({"density": 0.5, "allocation": "erk"}, "under global or uniform"),
    ],
)
def test_mistakes_are_named(options, words):
    with pytest.raises(UsageError, match=words):
        structured_masks(network("mlp"), IMAGE, "l1", **options)
