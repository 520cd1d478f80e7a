"""Predictions of many images in little room, and the images on which trials agree to differ. No torch.

Packed: the classes as bytes (uint8, or uint16 beyond 256 classes), deflated, in base 64.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence

import numpy as np

from sparsebench.errors import UsageError


def packed(classes: np.ndarray | Sequence[int], num_classes: int) -> str:
    """Predicted classes [N] as a text for a record.

    >>> unpacked(packed([3, 1, 4, 1, 5], 10), 10).tolist()
    [3, 1, 4, 1, 5]
    """
    raw = np.asarray(classes, dtype=_kind(num_classes)).tobytes()
    return base64.b64encode(zlib.compress(raw, 9)).decode("ascii")


def unpacked(text: str, num_classes: int) -> np.ndarray:
    """The predicted classes [N] that were packed."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=_kind(num_classes)).astype(np.int64)


def pie_count(students: Sequence[np.ndarray], teachers: Sequence[np.ndarray]) -> int:
    """Images on which the pruned network of every trial differs from the dense one of its trial (PIEs).

    It can only shrink with more trials, so a count means nothing without their number. Source: Hooker et al. 2019,
    arXiv:1911.05248; in this form Blakeney et al. 2021, arXiv:2106.07849, who have one dense network for all trials.

    Args:
        students, teachers: predicted classes [N] of every trial, in the same order; a single teacher is that of all.

    Raises:
        UsageError: no trial, or not one teacher a trial, or other images.

    >>> pie_count([np.array([1, 2, 3]), np.array([1, 0, 3])], [np.array([1, 1, 1]), np.array([1, 1, 3])])
    1
    """
    teachers = list(teachers) * len(students) if len(teachers) == 1 else list(teachers)
    if not students or len(teachers) != len(students) or len({len(p) for p in (*students, *teachers)}) > 1:
        raise UsageError(f"PIEs: {len(students)} trials and {len(teachers)} teachers; one of each, on the same images")
    differs = [np.asarray(s) != np.asarray(t) for s, t in zip(students, teachers, strict=True)]
    return int(np.logical_and.reduce(differs).sum())


def _kind(num_classes: int) -> type:
    return np.uint8 if num_classes <= 256 else np.uint16
