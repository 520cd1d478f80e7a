"""Augmentation of a batch at once: zero-padded random crops and flips as one gather.

The random numbers are drawn for a whole epoch beforehand, so an image's augmentation depends on the seed,
the epoch and its place in the order, and neither on the global generator nor on the number of processes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sparsebench.errors import unknown

__all__ = ["AUGMENTS", "Augment", "by_name"]


@dataclass(frozen=True)
class Augment:
    """Pad every side by `pad` zeros, crop back at random, mirror half of the images."""

    pad: int = 0
    flip: bool = False
    resized: bool = False
    """Crop of random size and aspect resized to the network's input; for images from files only."""

    @property
    def identity(self) -> bool:
        return not (self.pad or self.flip or self.resized)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Random numbers for n images, int64: [n, 3] row and column of the crop and flipped or not; if resized,
        [n, 1] seeds."""
        if self.resized:
            return torch.randint(2**63 - 1, (n, 1), generator=generator)
        crops = torch.randint(2 * self.pad + 1, (n, 2), generator=generator)
        flips = torch.randint(2 if self.flip else 1, (n, 1), generator=generator)
        return torch.cat([crops, flips], dim=1)

    def __call__(self, x_BCHW: Tensor, draws_B3: Tensor) -> Tensor:
        """The augmented batch; pad and draws as above.

        >>> x = torch.tensor([[1, 2], [3, 4]]).view(1, 1, 2, 2)
        >>> Augment(pad=1, flip=True)(x, torch.tensor([[0, 1, 1]])).view(2, 2)  # one pixel down, mirrored
        tensor([[0, 0],
                [2, 1]])
        """
        batch, channels, height, width = x_BCHW.shape
        row, column, flip = draws_B3.unbind(1)
        rows = row[:, None] + torch.arange(height, device=x_BCHW.device)
        ahead = torch.arange(width, device=x_BCHW.device)
        columns = column[:, None] + torch.where(flip[:, None] > 0, ahead.flip(0), ahead)
        padded = F.pad(x_BCHW, (self.pad,) * 4)
        place = rows[:, :, None] * padded.shape[3] + columns[:, None, :]
        place = place.view(batch, 1, -1).expand(-1, channels, -1)
        return padded.flatten(2).gather(2, place).view(x_BCHW.shape)


AUGMENTS = {
    "none": Augment(),
    "shift1": Augment(pad=1),
    "crop": Augment(pad=4),
    "crop_flip": Augment(pad=4, flip=True),
    "resized_crop_flip": Augment(flip=True, resized=True),
}


def by_name(name: str) -> Augment:
    """The augmentation of a name.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in AUGMENTS:
        raise unknown("augmentation", name, AUGMENTS, ", ".join(AUGMENTS))
    return AUGMENTS[name]
