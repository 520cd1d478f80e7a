"""Ranks: all processes of a DDP run hold the same masks."""

from __future__ import annotations

import torch
import torch.distributed as dist

from sparsebench.errors import SparsebenchError
from sparsebench.masks import Masks


class RanksDiffer(SparsebenchError):
    """Processes of one run hold different masks."""


def agree(masks: Masks) -> Masks:
    """Rank 0's masks on every rank; the digests are compared afterwards.

    Raises:
        RanksDiffer: the masks differ all the same.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return masks
    flat = torch.cat([m.flatten().to(torch.uint8) for m in masks.values()])
    dist.broadcast(flat, src=0)
    parts = flat.bool().split([m.numel() for m in masks.values()])
    agreed = Masks({name: part.view(masks[name].shape) for name, part in zip(masks, parts, strict=True)})
    digests = [None] * dist.get_world_size()
    dist.all_gather_object(digests, agreed.digest())
    if len(set(digests)) > 1:
        raise RanksDiffer(f"masks differ between ranks after a broadcast: {digests}")
    return agreed
