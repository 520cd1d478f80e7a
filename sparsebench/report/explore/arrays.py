"""Arrays: what the measure ``geometry`` kept of a cell, read without torch; see ``measures/geometry_kept.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

FILE = "geometry.safetensors"


def read(folder: Path, cell: str) -> dict[str, np.ndarray] | None:
    """Arrays of a cell; None where there are none or the file is damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(folder / cell / FILE)
    except (OSError, SafetensorError):
        return None


def there(folder: Path, cell: str) -> bool:
    return (folder / cell / FILE).is_file()


def whole(value: np.ndarray, step: float = 1.0) -> list:
    """Numbers in steps, as whole ones; None for what is not finite.

    >>> whole(np.array([0.26, np.nan, 1.0]), 0.1)
    [3, None, 10]
    """
    scaled = np.asarray(value, dtype=np.float64).ravel() / step
    return [round(x) if np.isfinite(x) else None for x in scaled.tolist()]
