"""Ranks: the processes that work on one training together; one process alone is rank 0 of 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, TypeVar

import torch.distributed as dist

from sparsebench.errors import SparsebenchError

T = TypeVar("T")

_by_itself = False


def rank() -> int:
    return dist.get_rank() if _grouped() else 0


def world() -> int:
    return dist.get_world_size() if _grouped() else 1


def leads() -> bool:
    """Whether this process is the one that writes files."""
    return rank() == 0


def several() -> bool:
    """Whether what is summed here must be summed over several processes."""
    return world() > 1 and not _by_itself


@contextmanager
def alone() -> Iterator[None]:
    """Compute without the other ranks: for what all of them do on the same data.

    Within it ``several`` is False, so nothing is summed over ranks and the result is exactly that of one process.
    """
    global _by_itself
    before, _by_itself = _by_itself, True
    try:
        yield
    finally:
        _by_itself = before


def gather(value: T) -> list[T]:
    """The value of every rank, in order of rank."""
    if not several():
        return [value]
    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value)
    return values


def from_leader(decide: Callable[[], T]) -> T:
    """What rank 0 decides, on every rank; an exception it raises is raised on all of them."""
    if not several():
        return decide()
    said: list[Any] = [None, None]
    if leads():
        try:
            said = [decide(), None]
        except Exception as error:
            said = [None, _sendable(error)]
    dist.broadcast_object_list(said, src=0)
    if said[1] is not None:
        raise said[1]
    return said[0]


def _sendable(error: Exception) -> Exception:
    """The exception, or its text if it does not survive the way to another process."""
    try:
        return copy(error)  # goes by the same way
    except Exception:
        return SparsebenchError(f"{type(error).__name__}: {error}")


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()
