"""Trees: what is stored comes back; what is damaged is named."""

from __future__ import annotations

import pytest
import torch

from sparsebench import tree

EXAMPLE = {
    "model": {"w": torch.arange(6.0).view(2, 3), "steps": torch.tensor(3), "half": torch.ones(2, dtype=torch.bfloat16)},
    0: [1, 2.5, None, True, "text", (torch.zeros(0), "x"), torch.Size([2])],
    "inf": float("inf"),
}


def test_a_tree_comes_back_with_its_types_and_keys(tmp_path):
    tree.save(EXAMPLE, tmp_path / "t")
    back = tree.load(tmp_path / "t")
    assert tree.digest(back) == tree.digest(EXAMPLE)
    assert back[0][:5] == [1, 2.5, None, True, "text"]
    assert back[0][6] == (2,)
    assert back["inf"] == float("inf")
    assert back["model"]["half"].dtype == torch.bfloat16


def test_tied_tensors_can_be_stored(tmp_path):
    weight = torch.randn(3)
    tree.save({"a": weight, "b": weight}, tmp_path / "t")
    assert (tree.load(tmp_path / "t")["b"] == weight).all()


def test_the_digest_sees_one_changed_bit_shape_type_and_key():
    changes = [{"a": torch.tensor([1.0, -0.0])}, {"a": torch.tensor([[1.0, 0.0]])}, {"b": torch.tensor([1.0, 0.0])},
               {"a": torch.tensor([1.0, 0.0], dtype=torch.float64)}, {"a": [1.0, 0.0]}]  # fmt: skip
    digests = {tree.digest(t) for t in [{"a": torch.tensor([1.0, 0.0])}, *changes]}
    assert len(digests) == 6


def test_what_is_neither_tensor_nor_plain_is_refused(tmp_path):
    with pytest.raises(TypeError, match="object"):
        tree.save({"a": object()}, tmp_path / "t")
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("keep", [0, 5, -1])
def test_a_truncated_file_is_named(tmp_path, keep):
    tree.save(EXAMPLE, tmp_path / "t")
    (tmp_path / "t").write_bytes((tmp_path / "t").read_bytes()[:keep])
    with pytest.raises(tree.CorruptArtifact, match=str(tmp_path / "t")):
        tree.load(tmp_path / "t")
    with pytest.raises(tree.CorruptArtifact):
        tree.load(tmp_path / "missing")
