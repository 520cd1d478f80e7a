"""Stamps: what tells that a file has changed, without reading it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

FRESH_SECONDS = 3
"""More than the coarsest file times there are (two seconds)."""


class Listing(NamedTuple):
    """The JSON files below a folder."""

    files: list[tuple[str, list[int]]]
    """Their names and stamps, in path order."""
    now: int
    """When they were listed, in nanoseconds."""
    seen: str
    """Hash of all stamps; empty where a file changed too lately for its stamp to tell the next change."""


def listing(folder: str | Path) -> Listing:
    """What lies below a folder now."""
    now, found = time.time_ns(), list(files(folder))
    return Listing(found, now, _of_files(found, now))


def files(folder: str | Path) -> Iterator[tuple[str, list[int]]]:
    """The JSON files below a folder in path order, each with its stamp."""
    found = []
    for place, _, names in os.walk(folder):
        below = () if place == str(folder) else Path(place).relative_to(folder).parts
        found += [(*below, name) for name in names if name.endswith(".json")]
    base = f"{folder}{os.sep}"
    for parts in sorted(found):
        name = os.sep.join(parts)
        with suppress(FileNotFoundError):
            yield name, stamp(base + name)


def stamp(path: str | Path) -> list[int]:
    """What tells a changed file: its size, inode, and times of modification and of change in nanoseconds."""
    about = os.stat(path)
    return [about.st_size, about.st_ino, about.st_mtime_ns, about.st_ctime_ns]


def settled(stat: list[int], now: int) -> bool:
    """Whether the next edit of a file would carry another time."""
    return max(stat[2:]) < now - FRESH_SECONDS * 10**9


def _of_files(found: list[tuple[str, list[int]]], now: int) -> str:
    hashed = sha256()
    for name, stat in found:
        if not settled(stat, now):
            return ""
        hashed.update(f"{name}{stat}".encode())
    return hashed.hexdigest()
