"""Suite: which test image is shown under which corruption, and what it then looks like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsebench.corruptions import SEED, SETS, SEVERITIES, corruption
from sparsebench.corruptions.draw import Draw, keys
from sparsebench.errors import UsageError, unknown

AT_ONCE = 2**21
"""Values of the images that are worked on together, so that what is needed on the way stays small."""
NUDGE = 1e-6
"""Of a grey level, added before rounding: exact halves round alike everywhere."""


def kinds() -> list[str]:
    """The 15 kinds in alphabetical order."""
    return corruption.names()


def corrupt(x: Tensor, kind: str, severity: int, *, dataset: str, index: Tensor, seed: int = SEED) -> Tensor:
    """Images [N, C, H, W] in [0, 1] under a corruption; of the same type, in [0, 1].

    Args:
        x: float32 or float64.
        kind: one of the 15.
        severity: 1 to 5.
        dataset, index: name of the data set and position [N] of each image in its test split: with kind, severity and
            seed they alone decide what is random. An image has the same random numbers at all severities of a kind.

    Raises:
        UsageError: an unknown kind or severity, or images of another form.

    >>> x = torch.rand(2, 1, 8, 8)
    >>> both = corrupt(x, "fog", 3, dataset="digits", index=torch.tensor([7, 8]))
    >>> torch.equal(both[1:], corrupt(x[1:], "fog", 3, dataset="digits", index=torch.tensor([8])))
    True
    """
    if kind not in corruption.entries:
        raise unknown("corruption", kind, corruption.entries, "docs/corruptions.md")
    if severity not in range(1, SEVERITIES + 1):
        raise UsageError(f"severity {severity!r} of {kind}: whole numbers from 1 to {SEVERITIES} are known")
    if x.ndim != 4 or not x.is_floating_point() or index.shape != x.shape[:1]:
        raise UsageError(
            f"images {x.dtype} {tuple(x.shape)} with index {tuple(index.shape)}: float [N, C, H, W] and [N] are wanted"
        )
    level = corruption.entry(kind).traits["levels"][severity - 1]
    draw = Draw(keys(f"{seed}/{dataset}/{kind}", index.to(x.device)))
    return corruption.get(kind)(x, level, draw).clamp(0, 1)


def corrupted_bytes(images: Tensor, kind: str, severity: int, *, dataset: str, index: Tensor) -> Tensor:
    """The same of uint8 images, rounded to uint8 again.

    Worked out in 64 bits: what hardware and versions do to a last bit is gone after rounding, so the images are equal
    everywhere.
    """
    size = max(1, AT_ONCE // images[0].numel())
    done = []
    for part, places in zip(images.split(size), index.split(size), strict=True):
        y = corrupt(part.double() / 255, kind, severity, dataset=dataset, index=places)
        done.append((y * 255 + 0.5 + NUDGE).floor().to(torch.uint8))
    return torch.cat(done)


@dataclass(frozen=True)
class Views:
    """V showings of test images: position, kind (its number) and severity of each, int64 [V]."""

    images: Tensor
    kinds: Tensor
    severities: Tensor

    def part(self, first: int, end: int) -> Views:
        return Views(self.images[first:end], self.kinds[first:end], self.severities[first:end])

    def groups(self) -> Iterator[tuple[str, int, Tensor]]:
        """Kind, severity and the positions [n] in this table of its views, kind after kind."""
        pairs = self.kinds * SEVERITIES + self.severities - 1
        order = pairs.argsort(stable=True)
        found, counts = pairs[order].unique_consecutive(return_counts=True)
        for pair, where in zip(found.tolist(), order.split(counts.tolist()), strict=True):
            yield kinds()[pair // SEVERITIES], pair % SEVERITIES + 1, where


def views(which: str, images: Tensor, dataset: str) -> Views:
    """Under what each of these test images (positions [N]) is shown.

    ``sample5``: in a random order the r-th image is shown five times, at severity s under kind ``(r + 3 s) mod 15``.
    So it meets every severity, each under another kind, and the 75 pairs have equally many images, up to one.
    ``full``: each under all 75.
    """
    severity = torch.arange(SEVERITIES)
    if which == SETS[0]:
        rank = keys(f"{SEED}/{dataset}/order", images).argsort().argsort()
        kind = (rank[:, None] + 3 * (severity + 1)) % len(kinds())
        severity = severity.expand_as(kind)
        image = images[:, None].expand_as(kind)
    else:
        shape = (len(images), len(kinds()), SEVERITIES)
        kind = torch.arange(len(kinds()))[None, :, None].expand(shape)
        severity, image = severity.expand(shape), images[:, None, None].expand(shape)
    return Views(image.reshape(-1), kind.reshape(-1), severity.reshape(-1) + 1)
