"""Data sets: functions with ``@dataset`` that return a `Source`, and the `DataModule` that serves them.

Importing this package costs nothing; torch comes with the first data set that is loaded.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsebench.registry import dataset

if TYPE_CHECKING:
    from sparsebench.data.source import Source

__all__ = ["data_root", "load", "traits_of"]

FOLDER_PREFIX = "imagefolder:"


def data_root(root: str | Path | None = None) -> Path:
    """Where data sets lie: the argument, else ``$SPARSEBENCH_DATA``, else ``./data``."""
    return Path(root or os.environ.get("SPARSEBENCH_DATA") or "data").expanduser()


def load(name: str, root: str | Path | None = None, download: bool = False) -> Source:
    """Images and labels of a data set by name, or of any folder as ``imagefolder:PATH``.

    Raises:
        UsageError: an unknown name, or files that are not where they should be.
    """
    if name.startswith(FOLDER_PREFIX):
        from sparsebench.data.folder import image_folder

        return image_folder(name.removeprefix(FOLDER_PREFIX), data_root(root))
    return dataset.get(name)(data_root(root), download=download)


def traits_of(name: str) -> dict[str, Any]:
    """What is registered with a data set: default ``augment``, ``validation`` images, the split's digest."""
    return {} if name.startswith(FOLDER_PREFIX) else dataset.entry(name).traits
