"""Ranks as threads of one process, with collectives that really exchange: no start-up, no network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch.distributed as dist


def as_ranks(n: int, function: Callable[[int], Any]) -> list[Any]:
    """What ``function(rank)`` returns on each of ``n`` ranks; the first exception of one of them is raised."""
    local, barrier = threading.local(), threading.Barrier(n, timeout=30)
    slots: list[Any] = [None] * n
    results: list[Any] = [None] * n
    errors: list[Exception] = []

    def exchange(value: Any) -> list[Any]:
        slots[local.rank] = value
        barrier.wait()
        everything = list(slots)
        barrier.wait()
        return everything

    def all_reduce(tensor) -> None:
        tensor.copy_(sum(exchange(tensor.clone())))

    def broadcast(tensor, src: int) -> None:
        tensor.copy_(exchange(tensor.clone())[src])

    def all_gather_object(values: list, value: Any) -> None:
        values[:] = exchange(value)

    fakes = {
        "is_initialized": lambda: True,
        "get_world_size": lambda: n,
        "get_rank": lambda: local.rank,
        "all_reduce": all_reduce,
        "broadcast": broadcast,
        "all_gather_object": all_gather_object,
    }

    def run(rank: int) -> None:
        local.rank = rank
        try:
            results[rank] = function(rank)
        except threading.BrokenBarrierError:
            pass
        except Exception as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(n)]
    with patch.multiple(dist, **fakes):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return results
