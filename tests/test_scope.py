"""Scope: what may be pruned in a stranger's module, and why the rest may not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.scope import scope_of


class Stranger(nn.Module):
    """One of everything."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.attention = nn.MultiheadAttention(4, 2, add_bias_kv=True)
        self.cross = nn.MultiheadAttention(4, 2, kdim=3, vdim=3)
        self.conv = nn.ConvTranspose2d(2, 3, 3)
        self.norm = nn.GroupNorm(1, 4)
        self.rms = RootMeanSquareNorm()
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.mine = Mine()
        self.decoder = nn.Linear(4, 7, bias=False)
        self.decoder.weight = self.embed.weight
        self.head = NormalizedLinear(4, 2)


class RootMeanSquareNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(4))


class NormalizedLinear(nn.Linear):
    """A linear layer whose name sounds like a norm."""


class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.ones(4, 4))


def test_weights_of_layers_and_projections_are_prunable():
    assert list(scope_of(Stranger()).prunable) == [
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "cross.q_proj_weight",
        "cross.k_proj_weight",
        "cross.v_proj_weight",
        "cross.out_proj.weight",
        "conv.weight",
        "head.weight",
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("embed.weight", "embedding"),
        ("cls_token", "not a weight of a convolution, linear or attention layer (Stranger)"),
        ("attention.in_proj_bias", "bias"),
        ("attention.bias_k", "bias"),
        ("norm.weight", "parameter of GroupNorm (norm)"),
        ("rms.gain", "parameter of RootMeanSquareNorm (norm)"),
        ("frozen.weight", "frozen"),
        ("mine.kernel", "not a weight of a convolution, linear or attention layer (Mine)"),
    ],
)
def test_every_other_parameter_has_its_reason(name, reason):
    assert scope_of(Stranger()).excluded[name] == reason


def test_prunable_and_excluded_are_all_parameters_once():
    net = Stranger()
    scope = scope_of(net)
    assert sorted([*scope.prunable, *scope.excluded]) == sorted(name for name, _ in net.named_parameters())


def test_a_decoder_that_comes_first_is_still_tied_to_the_embedding():
    net = nn.Module()
    net.decoder, net.embed, net.out = nn.Linear(4, 7, bias=False), nn.Embedding(7, 4), nn.Linear(4, 4)
    net.embed.weight = net.decoder.weight
    assert scope_of(net, include=["decoder.weight"]).excluded == {
        "decoder.weight": "tied to an embedding",
        "out.bias": "bias",
    }


def test_tied_layers_are_counted_once():
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    net[1].weight = net[0].weight
    assert scope_of(net).shapes == {"0.weight": (3, 3)}
    Masks({"0.weight": torch.eye(3, dtype=torch.bool)}).apply(net)
    assert (net[1].weight != 0).sum() == 3


def test_include_adds_own_layers_and_exclude_is_stronger():
    net = Stranger()
    assert "mine.kernel" in scope_of(net, include=["mine.*"]).prunable
    scope = scope_of(net, include=["mine.*", "frozen.*"], exclude=["mine.*", "head.*"])
    assert scope.excluded["mine.kernel"] == scope.excluded["head.weight"] == "excluded by the caller"
    assert scope.excluded["frozen.weight"] == "frozen"


def test_a_vision_transformer_keeps_tokens_and_positions():
    from sparsebench.models import build

    scope = scope_of(build("vit_digits", (1, 8, 8), 10))
    assert {"class_token", "position"} <= set(scope.excluded)
    assert {"patch_embedding.weight", "blocks.0.attention.qkv.weight", "classifier.weight"} <= set(scope.prunable)
    assert all(reason == "bias" or "norm" in reason for n, reason in scope.excluded.items() if "." in n)
    assert all(weight.dim() > 1 for weight in scope.prunable.values()), "scales of layer norms are vectors"


def test_refusals_name_what_is_wrong():
    with pytest.raises(UsageError, match=r"'fc\.\*' matches no parameter of Linear"):
        scope_of(nn.Linear(2, 2), exclude=["fc.*"])
    with pytest.raises(UsageError, match="no prunable weights"):
        scope_of(nn.BatchNorm1d(3))
    with pytest.raises(UsageError, match="lazy"):
        scope_of(nn.LazyLinear(3))
    pruned = prune.identity(nn.Linear(2, 2), "weight")
    normed = parametrizations.weight_norm(nn.Linear(2, 2))
    for net in (pruned, normed):
        with pytest.raises(UsageError, match="reparametrised"):
            scope_of(net)
