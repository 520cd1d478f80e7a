"""Random search: against brute force over the same masks, written out another way."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sparsebench.errors import UsageError
from sparsebench.functional import pruning, scores
from sparsebench.masks import Masks
from sparsebench.models import build
from sparsebench.registry import criterion
from sparsebench.selection import NonFiniteScore
from sparsebench.structured import shrink, structured_masks, unit_groups, units_of
from sparsebench.structured.products import unit_masks
from sparsebench.structured.search import OBJECTIVES
from tests.networks import NETWORKS, batches, network

IMAGE = batches()[0][0]


def draws(net: nn.Module, sparsity: float, samples: int, seed: int) -> list[Masks]:
    """The candidates: uniform scores from one generator, of each group as many of the highest as the search kept."""
    groups, generator = unit_groups(net, IMAGE), torch.Generator().manual_seed(seed)
    counts = pruning(net, "random_node", sparsity=sparsity, data=batches(), seed=seed).found["units"]
    found = []
    for _ in range(samples):
        noise = {g.name: torch.rand(g.size, generator=generator) for g in groups}
        order = {name: sorted(range(len(v)), key=lambda u, v=v: -float(v[u])) for name, v in noise.items()}
        kept = {n: torch.zeros(len(o), dtype=torch.bool) for n, o in order.items()}
        for name, units in order.items():
            kept[name][units[: counts[name][0]]] = True
        found.append(unit_masks(net, groups, kept))
    return found


def loss_of(net: nn.Module) -> float:
    """Mean over all images, in training mode, mini-batch after mini-batch."""
    net.train()
    with torch.no_grad():
        each = [cross_entropy(net(x), y, reduction="none") for x, y in batches()]
    return float(torch.cat(each).double().mean())


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_best_of_the_draws_is_found_by_training_none_of_the_shrunk_networks(kind):
    net, sparsity = network(kind), 0.5 if kind != "vit" else 0.3
    candidates = draws(net, sparsity, 12, seed=7)
    losses = []
    for masks in candidates:
        small = deepcopy(net)
        shrink(small, masks, IMAGE)
        losses.append(loss_of(small))
    result = pruning(net, "random_search", sparsity=sparsity, data=batches(), seed=7, samples=12)
    best = int(np.argmin(losses))
    assert best > 0, "the first draw is the best: nothing was searched, take another seed"
    assert result.masks == candidates[best]
    assert result.passes == result.found["samples"] == 12
    assert result.found["initial_loss"] == pytest.approx(losses[best], rel=1e-5)
    assert result.found["initial_loss_first"] == pytest.approx(losses[0], rel=1e-5)


def test_a_perceptron_s_units_are_switched_off_behind_their_activation():
    """The definition itself, in numpy: activations times the masks of the units."""
    net = network("mlp")
    result = pruning(net, "random_search", sparsity=0.6, data=batches(), seed=1, samples=5)
    kept = units_of(net, result.masks, IMAGE)
    w = {n: p.detach().numpy() for n, p in net.named_parameters()}
    x, y = (torch.cat(parts).numpy() for parts in zip(*batches(), strict=True))
    h = x.reshape(len(x), -1)
    for layer in (1, 2):
        h = np.maximum(h @ w[f"fc{layer}.weight"].T + w[f"fc{layer}.bias"], 0) * kept[f"fc{layer}.weight"].numpy()
    z = h @ w["classifier.weight"].T + w["classifier.bias"]
    loss = (np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]).mean()
    assert result.found["initial_loss"] == pytest.approx(loss, rel=1e-5)


def test_the_random_arm_is_the_first_draw_and_the_search_of_one_sample():
    net = network("resnet8")
    options = {"sparsity": 0.7, "data": batches(), "seed": 3}
    node, one, search = (
        pruning(net, name, **options, **more)
        for name, more in (("random_node", {}), ("random_search", {"samples": 1}), ("random_search", {"samples": 9}))
    )
    assert node.masks == one.masks == draws(net, 0.7, 1, seed=3)[0] == pruning(net, "random_filter", **options).masks
    assert node.passes == 1
    assert search.found["initial_loss_first"] == node.found["initial_loss"] == node.found["initial_loss_first"]
    assert search.found["initial_loss"] < node.found["initial_loss"]
    assert all(torch.equal(a, b) for a, b in zip(
        scores(net, "random_search", batches(), seed=3).values(),
        scores(net, "random_node", batches(), seed=3).values(), strict=True,
    ))  # fmt: skip


def test_masks_are_drawn_uniformly_with_the_counts_asked_for():
    """Every unit is kept as often as its share says, and no two neighbours more often together than others."""
    net = build("mlp", (1, 8, 8), 10, hidden=(8,))
    kept = [
        units_of(net, structured_masks(net, IMAGE, "random_node", 0.5, data=batches(), seed=s), IMAGE)["fc1.weight"]
        for s in range(400)
    ]
    drawn = torch.stack(kept).double()
    assert (drawn.sum(1) == 4).all()
    assert (drawn.mean(0) - 0.5).abs().max() < 0.1  # four standard deviations
    together = drawn.T @ drawn / len(drawn)
    assert (together[~torch.eye(8, dtype=torch.bool)] - 0.5 * 3 / 7).abs().max() < 0.1


@pytest.mark.parametrize("objective", ["snip_sum", "synflow_sum"])
def test_other_objectives_keep_the_largest_sum_of_scores_of_the_shrunk_network(objective):
    net, sums = network("vgg"), []
    candidates = draws(net, 0.6, 6, seed=2)
    for masks in candidates:
        small = deepcopy(net)
        shrink(small, masks, IMAGE)
        raw = scores(small, objective.removesuffix("_sum"), batches())
        sums.append(float(sum(s.double().sum() for s in raw.values())))
    result = pruning(net, "random_search", sparsity=0.6, data=batches(), seed=2, samples=6, objective=objective)
    assert result.masks == candidates[int(np.argmax(sums))]
    assert result.found["value"] == pytest.approx(max(sums), rel=1e-4)


def test_cost_is_counted_and_can_be_given_in_forward_passes_of_the_whole_network():
    net = network("mlp")  # 64-20-20-10
    options = {"sparsity": 1 - (64 * 5 + 25 + 50) / (64 * 20 + 400 + 200), "data": batches()}
    one = 2 * (64 * 5 + 25 + 50) * 19  # one candidate with 5 of 20 units on 19 images
    found = pruning(net, "random_search", samples=4, **options).found
    assert found["units"] == {"fc1.weight": [5, 20], "fc2.weight": [5, 20]}
    assert found["score_flops"] == 4 * one
    whole = 2 * (64 * 20 + 400 + 200)
    for passes in (1, 30, 300):
        found = pruning(net, "random_search", passes=passes, **options).found
        assert found["samples"] == max(1, passes * whole // one)
        assert found["score_flops"] <= max(one, passes * whole) < found["score_flops"] + one


def test_the_network_stays_as_it_was_and_no_random_state_moves():
    net = network("resnet8").eval()
    before, state = {n: t.clone() for n, t in net.state_dict().items()}, torch.get_rng_state()
    for objective in ("init_loss", "snip_sum", "synflow_sum"):
        pruning(net, "random_search", sparsity=0.6, data=batches(), samples=3, objective=objective)
    assert all(torch.equal(value, before[n]) for n, value in net.state_dict().items())
    assert not any(module.training for module in net.modules())
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert net.conv.out_channels == 4


def test_losses_that_are_not_finite_come_last_and_are_noted_if_nothing_else_is_left():
    net = network("mlp")
    with torch.no_grad():
        net.fc1.weight[3:].fill_(torch.nan)
    options = {"sparsity": 0.95, "data": batches(), "samples": 40}
    notes = []
    good = pruning(net, "random_search", notes=notes, **options)
    assert not notes and good.found["initial_loss"] is not None  # noqa: PT018
    with torch.no_grad():
        net.fc1.weight.fill_(torch.nan)
    with pytest.raises(NonFiniteScore, match="any of 40"):
        pruning(net, "random_search", **options)
    assert pruning(net, "random_search", notes=notes, **options).found["initial_loss"] is None
    assert notes == ["scores not finite"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"samples": 0}, "samples=0"), ({"samples": 2.5}, "samples=2.5"), ({"passes": -1}, "passes=-1"),
     ({"objective": "loss"}, "init_loss, snip_sum, synflow_sum")],
)  # fmt: skip
def test_arguments_that_count_nothing_are_refused(arguments, said):
    with pytest.raises(UsageError, match=said):
        pruning(network("mlp"), "random_search", sparsity=0.5, data=batches(), **arguments)


def test_no_data_nothing_to_judge():
    with pytest.raises(UsageError, match="data"):
        pruning(network("mlp"), "random_search", sparsity=0.5)


def test_the_objectives_that_a_method_string_may_name_are_those_there_are():
    assert criterion.entry("random_search").traits["choices"]["objective"] == tuple(OBJECTIVES)
