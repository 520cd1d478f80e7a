"""Stamps: what tells that a file has changed, without reading it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

Listing = list[tuple[str, list[int]]]
"""Files and their stamps, as from ``files``."""
FRESH_SECONDS = 3
"""More than the coarsest file times there are (two seconds)."""


def files(folder: str | Path) -> Iterator[tuple[str, list[int]]]:
    """The JSON files below a folder in path order, each with its stamp."""
    found = []
    for place, _, names in os.walk(folder):
        below = () if place == str(folder) else Path(place).relative_to(folder).parts
        found += [(*below, name) for name in names if name.endswith(".json")]
    for parts in sorted(found):
        name = os.path.join(*parts)
        with suppress(FileNotFoundError):
            yield name, stamp(os.path.join(folder, name))


def stamp(path: str | Path) -> list[int]:
    """What tells a changed file: its size, inode, and times of modification and of change in nanoseconds."""
    about = os.stat(path)
    return [about.st_size, about.st_ino, about.st_mtime_ns, about.st_ctime_ns]


def settled(stat: list[int], now: int) -> bool:
    """Whether the next edit of a file would carry another time."""
    return max(stat[2:]) < now - FRESH_SECONDS * 10**9


def of_files(found: Iterable[tuple[str, list[int]]], now: int) -> str:
    """Hash of the stamps of files; empty where one is not settled."""
    hashed = sha256()
    for name, stat in found:
        if not settled(stat, now):
            return ""
        hashed.update(f"{name}{stat}".encode())
    return hashed.hexdigest()
