"""Agreement of ranks: rank 0's masks everywhere, and no going on where they differ all the same."""

from __future__ import annotations

import pytest
import torch

import sparsebench.callbacks.ranks as ranks
from sparsebench.callbacks.ranks import RanksDiffer, agree, rank_zeros
from sparsebench.masks import Masks
from tests.ranks import as_ranks


def masks_of(rank: int) -> Masks:
    generator = torch.Generator().manual_seed(rank)
    return Masks({n: torch.rand(s, generator=generator) > 0.5 for n, s in (("a", (3, 5)), ("b", (7,)))})


def test_all_ranks_hold_the_masks_of_rank_0():
    assert masks_of(0) != masks_of(1)
    found = as_ranks(3, lambda rank: agree(masks_of(rank)))
    assert [masks.digest() for masks in found] == [masks_of(0).digest()] * 3
    weights = as_ranks(2, lambda rank: rank_zeros({"a": torch.full((2,), float(rank))}))
    assert [w["a"].tolist() for w in weights] == [[0.0, 0.0]] * 2


def test_a_rank_that_differs_all_the_same_stops_the_run(monkeypatch):
    """What arrived is not what was sent: the digests, exchanged afterwards, tell."""
    digests = iter(["one", "another"])
    monkeypatch.setattr(ranks.Masks, "digest", lambda self: next(digests))
    with pytest.raises(RanksDiffer, match="masks differ between ranks"):
        as_ranks(2, lambda rank: agree(masks_of(rank)))


def test_one_process_keeps_its_masks():
    assert agree(masks_of(1)) == masks_of(1)
