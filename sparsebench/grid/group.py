"""Group: makes this process one of the ranks that work on jobs together."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d

from sparsebench.grid.hardware import Hardware

PATIENCE = timedelta(days=7)
"""A rank may wait long for another, which waits for a lock; whether a job hangs is the launcher's to judge."""


def join(rank: int, hardware: Hardware, meet: str) -> None:
    """Join the process group; ``meet`` is where its ranks meet, such as ``file:///shared/folder/name``."""
    local = rank % hardware.devices
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(local),
        "GROUP_RANK": str(rank // hardware.devices),
        "WORLD_SIZE": str(hardware.world),
    }
    join_as_told(hardware, meet)


def join_as_told(hardware: Hardware, meet: str = "env://") -> None:
    """Join as the environment says that torchrun made: ``RANK``, ``LOCAL_RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``."""
    on_gpu = hardware.accelerator == "gpu"
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        init_method=meet,
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        timeout=PATIENCE,
    )


def reached_by_all(point: str, seconds: float) -> bool:
    """Whether every rank comes to this point within some seconds of this one; no collective is needed for it."""
    board = distributed_c10d._get_default_store()
    board.set(f"{point}/{dist.get_rank()}", "here")
    try:
        board.wait([f"{point}/{rank}" for rank in range(dist.get_world_size())], timedelta(seconds=seconds))
    except dist.DistStoreError:
        return False
    return True
