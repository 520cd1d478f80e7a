"""Geometry: angles, lengths and margins of the test images, clean and corrupted, and which of them foretell a flip.

Definitions: ``metrics/geometry.py``, ``metrics/flips.py`` and docs/explore.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import nn

from sparsebench.corruptions.suite import kinds
from sparsebench.measures import Subject
from sparsebench.measures.geometry_kept import kept_arrays
from sparsebench.metrics.features import by_layer, features
from sparsebench.metrics.flips import Seen, Showings, of_classes, of_clean, of_kinds, of_shown
from sparsebench.metrics.geometry import angles, lengths, margins
from sparsebench.registry import measure

PROBE = 512
"""Training images on which layers are compared."""


@measure
def geometry(subject: Subject) -> dict[str, Any]:
    """Angle, length and margin of every test image at the last linear layer; flips under corruption; redundancy.

    What single images are like is kept for the page of ``sparsebench explore``.

    Raises:
        NoLinearHead: the network does not end in a linear layer.
    """
    x, clean, head = look(subject.net, subject.clean)
    shown = look_at_spoilt(subject)
    subject.keep("geometry", kept_arrays(subject, x, head.weight, clean, shown))
    return {
        **of_clean(clean),
        **of_shown(clean, shown),
        "classes": of_classes(clean, shown),
        "redundancy": of_kinds(clean, shown, kinds()),
        "layers": by_layer(subject.net, subject.dense, subject.data.probe(PROBE)),
    }


def look(net: nn.Module, batches: Iterable) -> tuple[np.ndarray, Seen, nn.Linear]:
    """Features ``[N, d]`` of images, their geometry, and the layer that decides."""
    x, z, label, head = features(net, batches)
    weight, bias = head.weight.detach().cpu(), None if head.bias is None else head.bias.detach().cpu()
    said = z.argmax(1).masked_fill(~z.isfinite().all(1), -1)
    seen = (label, said, angles(x, weight), lengths(x), margins(x, weight, bias, label))
    return x.numpy(), Seen(*(column.numpy() for column in seen)), head


def look_at_spoilt(subject: Subject) -> Showings:
    """The corrupted images, in the order in which they are shown."""
    parts = [(views, look(subject.net, batches)[1]) for views, batches in subject.spoilt()]
    image, kind, severity = (
        np.concatenate([getattr(views, name).numpy() for views, _ in parts])
        for name in ("images", "kinds", "severities")
    )
    columns = ("label", "said", "angles", "length", "margin")
    seen = Seen(*(np.concatenate([getattr(part, name) for _, part in parts]) for name in columns))
    return Showings(seen, rows_of(image, getattr(subject.clean, "positions", None)), kind, severity)


def rows_of(images: np.ndarray, positions: Any) -> np.ndarray:
    """The place of test images among those that are read; without ``positions`` all are.

    >>> rows_of(np.array([7, 2, 7]), np.array([2, 5, 7])).tolist()
    [2, 0, 2]
    """
    if positions is None:
        return images
    known = np.asarray(positions)
    order = known.argsort()
    return order[np.searchsorted(known[order], images)]
