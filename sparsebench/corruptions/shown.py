"""Shown: the corrupted images of a test split, made once and kept where memory allows."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import torch
from torch import Tensor

from sparsebench.corruptions import SETS, SEVERITIES
from sparsebench.corruptions.draw import keys
from sparsebench.corruptions.suite import Views, corrupted_bytes, kinds, views
from sparsebench.data.augment import AUGMENTS
from sparsebench.data.source import Images, Resident

KEPT = 3 * 2**30
"""Bytes of corrupted images that a process keeps: all of CIFAR's. Larger sets are made anew for every network."""
SAMPLED = 2**30
"""Bytes a sample may have; of larger data sets it is of fewer test images, the first of a random order."""
PART = 2**29
"""Bytes that are made at a time."""


class Shown:
    """The images of one corruption set, in parts; ``positions`` are those of the test images that may be shown."""

    def __init__(self, which: str, images: Images, positions: Tensor, dataset: str, device: torch.device) -> None:
        self.which, self.images, self.dataset, self.device = which, images, dataset, device
        showings = SEVERITIES * (1 if which == SETS[0] else len(kinds()))
        self.of_one = showings * images.shape[0] * images.shape[1] * images.shape[2]
        if which == SETS[0] and len(positions) * self.of_one > SAMPLED:
            first = keys(f"{dataset}/sample", positions).argsort()[: max(1, SAMPLED // self.of_one)]
            positions = positions[first.sort().values]
        self.positions = positions
        self.digest: str | None = None
        """SHA-256 of the images, once all were made in this process; None for a set that is not kept."""
        self._kept: list[tuple[Views, Resident]] | None = None

    def __iter__(self) -> Iterator[tuple[Views, Resident]]:
        if self._kept is None and len(self.positions) * self.of_one <= KEPT:
            self._kept = list(self._parts())
            state = sha256()
            for _, part in self._kept:
                state.update(part.images.numpy())
            self.digest = state.hexdigest()
        return self._parts() if self._kept is None else iter(self._kept)

    def _parts(self) -> Iterator[tuple[Views, Resident]]:
        """Some test images at a time, each under all that it is shown under."""
        table = views(self.which, self.positions, self.dataset)
        each = len(table.images) // len(self.positions)
        blocks = self.positions.split(max(1, PART // self.of_one))
        done = 0
        for block, (clean, labels) in zip(
            blocks, self.images.stream(blocks, self.device, AUGMENTS["none"], []), strict=True
        ):
            part = table.part(done * each, (done + len(block)) * each)
            done += len(block)
            yield part, self._made(part, clean, labels.cpu())

    def _made(self, part: Views, clean: Tensor, labels: Tensor) -> Resident:
        where = torch.arange(len(part.images)) // (len(part.images) // len(labels))
        made = torch.empty((len(where), *clean.shape[1:]), dtype=torch.uint8)
        for kind, severity, group in part.groups():
            index = part.images[group]
            chosen = clean[where[group].to(clean.device)]
            made[group] = corrupted_bytes(chosen, kind, severity, dataset=self.dataset, index=index).cpu()
        return Resident(made, labels[where])
