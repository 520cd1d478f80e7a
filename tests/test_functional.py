"""Functional use: any module, no Lightning."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy

import pytest
import torch
from torch import nn

import sparsebench
from sparsebench.criteria import is_structured
from sparsebench.errors import UsageError
from sparsebench.functional import pruning
from sparsebench.masks import Masks
from sparsebench.methods import register
from sparsebench.registry import criterion, solver
from sparsebench.selection import NonFiniteScore


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5))


def data():
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(16, 10, generator=generator), torch.randint(0, 5, (16,), generator=generator))]


@pytest.mark.parametrize("name", [name for name in criterion.names() if name != "bn_scale"])
def test_pruned_in_place_with_nothing_else_changed(net, name):
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    masks = sparsebench.prune(net, name, sparsity=0.9, data=iter(data()), shrink=False)
    weights = Masks({n: m for n, m in masks.items() if n.endswith("weight")})
    assert weights.kept <= 30 if is_structured(name) else weights.kept == 30
    for n, p in net.named_parameters():
        expected = before[n] * masks[n] if n in masks else before[n]
        if n in masks and name in solver.entries:
            assert not p[~masks[n]].any()
        else:
            assert (p == expected).all()


def test_units_are_taken_out_or_left_as_zeros(net):
    whole, small = net, nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5))
    small.load_state_dict(whole.state_dict())
    masks = sparsebench.prune(whole, "l1", sparsity=0.5, data=data(), shrink=False)
    assert sparsebench.prune(small, "l1", sparsity=0.5, data=data()) == masks
    assert (whole[0].out_features, small[0].out_features) == (20, 10)
    x = data()[0][0]
    torch.testing.assert_close(whole(x), small(x))


def kept_and_moved(net, name):
    """The dense network, its copy with masks alone, and the masks, after a solver pruned ``net``."""
    dense, plain = deepcopy(net), deepcopy(net)
    masks = sparsebench.prune(net, name, sparsity=0.5, data=data())
    masks.apply(plain)
    return dense, plain, masks


@pytest.mark.parametrize("name", ["woodfisher", "chita", "sparsegpt", "obc"])
def test_a_solver_changes_the_weights_it_keeps(net, name):
    dense, _, masks = kept_and_moved(net, name)
    assert any((net.get_parameter(n) != dense.get_parameter(n))[mask].any() for n, mask in masks.items())


@pytest.mark.parametrize("name", ["sparsegpt", "obc"])
def test_weights_kept_make_up_for_the_others(net, name):
    """Nearer to the dense outputs on the calibration data than the same masks without it."""
    dense, plain, _ = kept_and_moved(net, name)
    x = data()[0][0]
    assert float((net(x) - dense(x)).norm()) < float((plain(x) - dense(x)).norm())


def test_pruning_on_from_masks_is_nested(net):
    first = sparsebench.prune(net, "magnitude/erk", sparsity=0.5)
    second = sparsebench.prune(net, "snip", sparsity=0.8, data=data(), masks=first)
    assert second.nested_in(first)
    assert second.kept == 60
    with pytest.raises(UsageError, match="only 60 are left"):
        sparsebench.prune(net, "magnitude", sparsity=0.5, masks=second)


def test_a_criterion_of_many_rounds_sees_the_network_it_has_pruned(net):
    at_once = sparsebench.select(sparsebench.scores(net, "synflow", data()), 0.1)
    in_rounds = pruning(net, "synflow", sparsity=0.9, data=data()).masks
    assert in_rounds.kept == at_once.kept
    assert in_rounds != at_once


def test_weights_come_back_when_a_round_fails(net):
    before = net[0].weight.detach().clone()
    calls = iter([torch.ones(4, 10)] * 3)

    def failing(module, inputs):
        if next(calls, None) is None:
            raise RuntimeError("in the middle of it")

    net.register_forward_pre_hook(failing)
    with pytest.raises(RuntimeError, match="middle"):
        pruning(net, "synflow", sparsity=0.9, data=data())
    assert (net[0].weight == before).all()


def test_scores_that_are_not_finite_are_refused_or_noted(net):
    net[0].weight.data[0, :3] = torch.nan
    with pytest.raises(NonFiniteScore, match=r"'0\.weight'"):
        sparsebench.prune(net, "magnitude", sparsity=0.5)
    notes = []
    masks = pruning(net, "magnitude", sparsity=0.5, notes=notes).masks
    assert notes == ["scores not finite"]
    assert masks.kept == 150
    assert not masks["0.weight"][0, :3].any()


def test_refusals(net):
    for sparsity in (1.0, -0.1, float("nan")):
        with pytest.raises(UsageError, match=r"\[0, 1\)"):
            sparsebench.prune(net, "magnitude", sparsity=sparsity)
    with pytest.raises(UsageError, match="magnitude/erk; write that"):
        sparsebench.prune(net, "lamp/erk", sparsity=0.5)
    with pytest.raises(UsageError, match=r"unknown allocation .erq.*erk"):
        sparsebench.prune(net, "magnitude/erq", sparsity=0.5)
    with pytest.raises(UsageError, match="no argument 'temprature'"):
        sparsebench.prune(net, "grasp", sparsity=0.5, data=data(), temprature=1)


def test_no_lightning_is_imported():
    code = """
import sys, torch, sparsebench
sparsebench.prune(torch.nn.Linear(4, 4), "synflow", sparsity=0.5, data=torch.ones(1, 4))
assert not {"lightning", "pytorch_lightning"} & set(sys.modules), "lightning was imported"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_masks_so_far_hold_while_scores_are_made(net):
    """The network masked so far is what is scored, whether or not its weights were masked before."""
    masked = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5))
    masked.load_state_dict(net.state_dict())
    first = sparsebench.prune(masked, "random", sparsity=0.5)
    for name in ("snip", "lamp", "fisher", "sparsegpt"):
        from_dense = pruning(net, name, sparsity=0.8, data=data(), masks=first).masks
        assert from_dense == pruning(masked, name, sparsity=0.8, data=data(), masks=first).masks, name


@pytest.mark.parametrize("name", ["sparsegpt", "obc", "wanda", "woodfisher", "chita"])
def test_a_solver_that_meets_nan_says_so_or_notes_it(net, name):
    with torch.no_grad():
        net[0].weight[0, 0] = float("nan")
    with pytest.raises(UsageError, match="not finite"):
        sparsebench.prune(net, name, sparsity=0.5, data=data())
    notes = []
    result = pruning(net, name, sparsity=0.5, data=data(), notes=notes)
    assert notes == ["scores not finite"]
    assert result.masks.kept == 150


def test_one_shot_criteria_estimate_batch_norm_anew():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(10, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 5))
    (x, _), *_ = data()
    sparsebench.prune(net, "wanda", sparsity=0.5, data=data())
    torch.testing.assert_close(net[1].running_mean, net[0](x).mean(0))


def test_a_users_one_shot_criterion_may_do_without_data(net, tmp_path, monkeypatch):
    monkeypatch.setattr(criterion, "_added", dict(criterion._added))
    (tmp_path / "mine.py").write_text(
        "from sparsebench import criterion\n\n\n@criterion(needs='weight', regime='oneshot')\n"
        "def plainly(weight):\n    'The absolute weight.'\n    return weight.abs()\n"
    )
    register(str(tmp_path / "mine.py"))
    assert sparsebench.prune(net, "plainly", sparsity=0.5).kept == 150


@pytest.mark.parametrize(
    ("method", "options", "reason"),
    [
        ("l1", {"scope": True}, "a scope is for criteria of single weights"),
        ("l1", {"data": []}, "no batches to score on"),
        ("synflow", {"data": []}, "no batches to score on"),
        ("lap", {"data": []}, "no batches to score on"),
        ("snip", {"data": 3}, "data is a int, not batches"),
        ("snip", {"data": None}, "needs data"),
        ("l1", {"data": None}, "needs one batch"),
        ("bn_scale", {}, "batch norm"),
        ("magnitude", {"sparsity": "0.5"}, r"sparsity '0\.5' is not in"),
        ("magnitude", {"sparsity": None}, "sparsity None is not in"),
        ("woodfisher", {"block": "x"}, "block='x' is not a number"),
        ("magnitude@imp", {}, "a method with a training in it"),
        ("rigl", {}, "a method with a training in it"),
        ("sparsegpt", {"invert": True}, "no argument 'invert'"),
    ],
)
def test_mistakes_are_named(net, method, options, reason):
    options = {"sparsity": 0.5, "data": data(), **options}
    if options.get("scope"):
        options["scope"] = sparsebench.scope_of(net)
    with pytest.raises(UsageError, match=reason):
        sparsebench.prune(net, method, **options)
