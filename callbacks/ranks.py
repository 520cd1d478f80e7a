"""Ranks: all processes of a DDP run hold the same masks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from sparsebench.errors import SparsebenchError
from sparsebench.masks import Masks
from sparsebench.ranks import gather, several


class RanksDiffer(SparsebenchError):
    """Processes of one run hold different masks."""


def agree(masks: Masks) -> Masks:
    """Rank 0's masks on every rank; the digests are compared afterwards.

    Raises:
        RanksDiffer: the masks differ all the same.
    """
    if not several():
        return masks
    flat = torch.cat([m.flatten().to(torch.uint8) for m in masks.values()])
    dist.broadcast(flat, src=0)
    parts = flat.bool().split([m.numel() for m in masks.values()])
    agreed = Masks({name: part.view(masks[name].shape) for name, part in zip(masks, parts, strict=True)})
    digests = gather(agreed.digest())
    if len(set(digests)) > 1:
        raise RanksDiffer(f"masks differ between ranks after a broadcast: {digests}")
    return agreed


def rank_zeros(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rank 0's tensors on every rank."""
    if several():
        for tensor in tensors.values():
            dist.broadcast(tensor, src=0)
    return dict(tensors)
