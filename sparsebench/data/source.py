"""Source: the images and labels of one data set, either resident as one tensor or as files on disk.

Shape suffixes: N images, B of them in a batch, C channels, H and W pixels. Pixels are uint8 until the
loader normalises them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

import torch
from torch import Tensor

from sparsebench.data.augment import Augment

__all__ = ["Images", "Resident", "Source"]


class Images(Protocol):
    """What a loader needs of the images of one split."""

    labels: Tensor
    """int64 [N], on the CPU."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image as the network sees it."""

    def stream(
        self, batches: Sequence[Tensor], device: torch.device, augment: Augment, draws: Sequence[Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Images uint8 [B, C, H, W] and labels [B] at every batch's positions, augmented by its draws."""

    def statistics(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [C] of the pixels (0..255) at these positions."""

    def digest(self) -> str:
        """SHA-256 of the content and the labels."""


@dataclass(frozen=True)
class Source:
    """A data set: what to train and validate on, the official test images, class names in label order."""

    train: Images
    test: Images
    classes: tuple[str, ...]


class Resident:
    """All images as one uint8 tensor; batches are gathered on the device it was moved to once."""

    def __init__(self, images_NCHW: Tensor, labels_N: Tensor) -> None:
        self.images = images_NCHW.contiguous()
        self.labels = labels_N.to(torch.int64)
        self._placed: tuple[torch.device, Tensor, Tensor] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        return tuple(self.images.shape[1:])

    def stream(
        self, batches: Sequence[Tensor], device: torch.device, augment: Augment, draws: Sequence[Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        images, labels = self._on(device)
        if not batches:
            return
        sizes = [len(batch) for batch in batches]
        positions = torch.cat(list(batches)).to(device).split(sizes)
        parameters = torch.cat(list(draws)).to(device).split(sizes) if draws else [None] * len(sizes)
        for batch, drawn in zip(positions, parameters, strict=True):
            x = images.index_select(0, batch)
            yield augment(x, drawn) if drawn is not None else x, labels.index_select(0, batch)

    def statistics(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        channels = self.images.index_select(0, positions).transpose(0, 1).flatten(1)
        counts = torch.stack([torch.bincount(c, minlength=256) for c in channels]).double()
        level = torch.arange(256, dtype=torch.float64)
        share = counts / counts.sum(1, keepdim=True)
        mean = share @ level
        return mean.float(), (share @ level**2 - mean**2).clamp_min(0).sqrt().float()

    def digest(self) -> str:
        state = sha256(str(tuple(self.images.shape)).encode())
        state.update(self.images.numpy())
        state.update(self.labels.numpy())
        return state.hexdigest()

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if device.type == "cpu":
            return self.images, self.labels
        if self._placed is None or self._placed[0] != device:
            self._placed = (device, self.images.to(device), self.labels.to(device))
        return self._placed[1:]
