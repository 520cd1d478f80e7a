"""Masks: counts, identity, nesting, application and their file."""

from __future__ import annotations

import pytest
import torch
from torch import nn, tensor

from sparsebench.errors import UsageError
from sparsebench.masks import Masks

A = tensor([[True, False, False], [True, True, False]])
B = tensor([False, False])


def test_counts_are_those_seen_by_eye():
    masks = Masks({"a": A, "b": B})
    assert (masks.kept, masks.total, masks.sparsity) == (3, 8, 0.625)
    assert masks.counts == {"a": 3, "b": 0}
    assert masks.emptied == ["b"]
    assert masks.per_layer() == {"a": {"kept": 3, "size": 6}, "b": {"kept": 0, "size": 2}}


def test_identity_sees_bits_names_and_shapes_but_not_order():
    masks = Masks({"a": A, "b": B})
    assert masks == Masks({"b": B.clone(), "a": A.clone()})
    others = [{"a": A, "c": B}, {"a": A.flatten(), "b": B}, {"a": ~A, "b": B}, {"a": A}, {"a": A, "b": tensor([False])}]
    for other in others:
        assert masks != Masks(other)
        assert masks.digest() != Masks(other).digest()


def test_nested_needs_every_weight_and_every_name():
    small, large = Masks({"a": A}), Masks({"a": A | tensor([[False, True, False], [False] * 3])})
    assert small.nested_in(large)
    assert small.nested_in(small)
    assert not large.nested_in(small)
    assert not small.nested_in(Masks({"b": A}))


def test_only_bool_is_a_mask():
    with pytest.raises(UsageError, match="bool"):
        Masks({"a": torch.ones(2)})


def test_applied_weights_are_exactly_zero_also_where_they_were_nan():
    net = nn.Linear(3, 2)
    net.weight.data[0, 1] = torch.nan
    kept = net.weight.detach().clone()[A]
    Masks({"weight": A}).apply(net)
    assert (net.weight[~A] == 0).all()
    assert (net.weight[A] == kept).all()


def test_masks_of_another_network_change_nothing():
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    before = net[0].weight.detach().clone()
    for name, mask in (("1.weight", torch.ones(3, 3, dtype=torch.bool)), ("2.weight", A)):
        with pytest.raises(UsageError, match=f"{name}.*another network"):
            Masks({"0.weight": A, name: mask}).apply(net)
    assert (net[0].weight == before).all()


def test_a_file_gives_back_the_same_masks_in_the_same_order(tmp_path):
    masks = Masks({"z": A, "b": B})
    masks.save(tmp_path / "deep" / "masks.safetensors")
    loaded = Masks.load(tmp_path / "deep" / "masks.safetensors")
    assert loaded == masks
    assert list(loaded) == ["z", "b"]


@pytest.mark.parametrize("damage", ["truncated", "other", "missing"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "masks.safetensors"
    Masks({"a": A}).save(path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-3])
    elif damage == "other":
        from safetensors.torch import save_file

        save_file({"a": torch.ones(2)}, path)
    else:
        path.unlink()
    with pytest.raises(UsageError, match=r"masks\.safetensors"):
        Masks.load(path)
