"""What the measure ``geometry`` keeps of single images, for a page that shows them; 2 bytes a number.

N test images, K classes, R of the images shown one by one, V corrupted showings of those.

    label said [N] int16, angles [N, K], length margin [N]              every clean image, in the test split's order
    plane own [N, 2], directions own_directions [K, 2]                  features and class directions in two dimensions
    rows [R]                                                            the images shown one by one
    shown_row shown_kind shown_severity shown_said, shown_angle shown_length shown_margin [V]
    kind_shown kind_right [K, kinds]                                    all showings, counted by class and kind
    pictures [R, C, H, W], shown_pictures [P, C, H, W], shown_at [P]    uint8, with the dense network's alone
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparsebench.corruptions import SEVERITIES
from sparsebench.corruptions.suite import kinds
from sparsebench.measures import Subject
from sparsebench.metrics.features import features
from sparsebench.metrics.flips import Seen, Showings
from sparsebench.metrics.plane import principal, turn

ROWS = 600
"""Images that are shown one by one: all, or so many evenly spaced ones."""
LARGEST_SIDE = 32
"""Pixels; larger images are not kept as pictures."""
PICTURES = 2**20
"""Bytes of pictures of corrupted images; where all would be more, those of the middle severity, or none."""


def kept_arrays(
    subject: Subject, x_Nd: np.ndarray, weight_Kd: Tensor, clean: Seen, shown: Showings
) -> dict[str, Tensor]:
    """The tensors above."""
    n = len(clean.label)
    rows = np.unique(np.linspace(0, n - 1, min(n, ROWS)).round().astype(np.int64))
    some = np.isin(shown.row, rows)
    seen, classes = shown.seen, clean.angles.shape[1]
    pairs = seen.label * len(kinds()) + shown.kind
    whole = {
        "label": clean.label.astype(np.int16),
        "said": clean.said.astype(np.int16),
        "rows": rows.astype(np.int32),
        "shown_row": shown.row[some].astype(np.int32),
        "shown_kind": shown.kind[some].astype(np.int8),
        "shown_severity": shown.severity[some].astype(np.int8),
        "shown_said": seen.said[some].astype(np.int16),
        "kind_shown": counted(pairs, classes),
        "kind_right": counted(pairs[seen.right], classes),
    }
    numbers = {
        "angles": clean.angles,
        "length": clean.length,
        "margin": clean.margin,
        "shown_angle": seen.angle[some],
        "shown_length": seen.length[some],
        "shown_margin": seen.margin[some],
        **planes(subject, x_Nd, weight_Kd),
    }
    pictures = pictures_of(subject, rows, shown, some) if subject.dense is subject.net else {}
    return {
        **{name: torch.from_numpy(value) for name, value in whole.items()},
        **{name: half(value) for name, value in numbers.items()},
        **pictures,
    }


def half(value: np.ndarray) -> Tensor:
    """In 16 bits; what is too large is as large as they go."""
    largest = torch.finfo(torch.float16).max
    return torch.from_numpy(np.asarray(value, dtype=np.float64)).clamp(-largest, largest).to(torch.float16)


def counted(pairs: np.ndarray, classes: int) -> np.ndarray:
    many = len(kinds())
    return np.bincount(pairs, minlength=classes * many).reshape(classes, many).astype(np.int32)


def planes(subject: Subject, x_Nd: np.ndarray, weight_Kd: Tensor) -> dict[str, np.ndarray]:
    """Features in the two main directions of the dense network's, and in their own turned to lie alike.

    A network whose features are fewer than the dense network's has only its own. ``directions`` are the class weights,
    scaled to length 1, in the same two dimensions; ``own_share`` the share of variance that the own plane shows.
    """
    dense_x, _, _, _ = features(subject.dense, subject.clean)
    dense_x, x_Nd = (np.nan_to_num(x, posinf=0.0, neginf=0.0) for x in (dense_x.numpy(), x_Nd))
    weight = weight_Kd.detach().cpu().double().numpy()
    length = np.linalg.norm(weight, axis=1, keepdims=True)
    unit = weight / np.where(length > 0, length, 1.0)
    mean, axes, _ = principal(dense_x)
    onto = (dense_x - mean) @ axes
    own_mean, own_axes, own_shares = principal(x_Nd)
    turned = own_axes @ turn((x_Nd - own_mean) @ own_axes, onto)
    found = {"own": (x_Nd - own_mean) @ turned, "own_directions": unit @ turned, "own_share": own_shares}
    if dense_x.shape == x_Nd.shape:
        found |= {"plane": (x_Nd - mean) @ axes, "directions": unit @ axes, "plane_share": share_of(x_Nd, axes)}
    return found


def share_of(x_Nd: np.ndarray, axes_d2: np.ndarray) -> np.ndarray:
    """Share of the points' variance along each direction."""
    centred = x_Nd - x_Nd.mean(0)
    total = (centred**2).sum()
    return ((centred @ axes_d2) ** 2).sum(0) / (total if total > 0 else 1.0)


def pictures_of(subject: Subject, rows: np.ndarray, shown: Showings, some: np.ndarray) -> dict[str, Tensor]:
    """The images themselves, where they are small: what a page needs to show which ones flip."""
    shape = subject.data.input_shape
    bytes_each = int(np.prod(shape))
    if max(shape[1:]) > LARGEST_SIDE or shape[0] not in (1, 3) or subject.data.name.startswith("imagefolder:"):
        return {}
    found = {"pictures": pixels(subject.clean, subject.clean, rows)}
    middle = some & (shown.severity == (SEVERITIES + 1) // 2)
    chosen = next((of for of in (some, middle) if of.sum() * bytes_each <= PICTURES), None)
    if chosen is None:
        return found
    place, kept = 0, []
    for views, batches in subject.spoilt():
        of = np.flatnonzero(chosen[place : place + len(views.images)])
        kept.append(pixels(batches, subject.clean, of))
        place += len(views.images)
    # Places among the showings that are kept.
    at = np.cumsum(some)[chosen] - 1
    return found | {"shown_pictures": torch.cat(kept), "shown_at": torch.from_numpy(at).int()}


def pixels(batches, loader, wanted: np.ndarray) -> Tensor:
    """Some images of a loader as uint8, before they were normalised."""
    found, start, normalise = [], 0, loader.normalise
    for x, _ in batches:
        of = wanted[(wanted >= start) & (wanted < start + len(x))] - start
        start += len(x)
        chosen = x[torch.from_numpy(of).to(x.device)]
        found.append((chosen / normalise.scale + normalise.mean).round().clamp(0, 255).to(torch.uint8).cpu())
    return torch.cat(found)
