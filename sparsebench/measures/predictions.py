"""Predictions: the class a network predicts for every test image, so that images can be counted from records.

Packed by ``sparsebench.metrics.predictions``: 10,000 images of ten classes take some 5 kB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparsebench.metrics.predictions import packed
from sparsebench.registry import measure

if TYPE_CHECKING:
    from sparsebench.measures import Subject


@measure
def predictions(subject: Subject) -> dict[str, Any]:
    classes = subject.logits.shape[1]
    return {
        "packed": packed(subject.logits.argmax(1).numpy(), classes),
        "classes": classes,
        "images": len(subject.labels),
    }
