"""Loaders: batches of normalised images whose order is a pure function of (seed, epoch).

N processes see together exactly what one process sees: order and augmentation are drawn for the global
batch, then each rank takes its slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparsebench.data.augment import AUGMENTS, Augment
from sparsebench.data.source import Images
from sparsebench.errors import UsageError

__all__ = ["EvalLoader", "Normalise", "TrainLoader", "epoch_generator", "most_on_cpu", "steps_per_epoch"]

Place = tuple[int, int, torch.device]
"""Rank, number of ranks, device; asked for when iteration starts, since a process group may come late."""

VALUES_ON_CPU = 2**18
"""Input values of a batch on the CPU, where an image of a much larger one takes several times as long."""


def most_on_cpu(values: int) -> int:
    """Images of so many values that a CPU evaluates fastest together.

    >>> most_on_cpu(3 * 32 * 32), most_on_cpu(3 * 224 * 224)
    (85, 16)
    """
    return max(16, VALUES_ON_CPU // max(1, values))


class Normalise:
    """uint8 pixels to float32 (x - mean) / std by channel; a channel without variance is only centred."""

    def __init__(self, mean_C: Tensor, std_C: Tensor) -> None:
        self.mean = mean_C.view(1, -1, 1, 1)
        self.scale = torch.where(std_C > 0, 1 / std_C, 1.0).view(1, -1, 1, 1)

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        if self.mean.device != x_BCHW.device:
            self.mean, self.scale = self.mean.to(x_BCHW.device), self.scale.to(x_BCHW.device)
        return x_BCHW.to(torch.float32).sub_(self.mean).mul_(self.scale)


@dataclass
class TrainLoader:
    """Shuffled, augmented batches of one epoch; the last incomplete global batch is dropped.

    The epoch is `first_epoch` plus what `set_epoch` last said. Lightning calls `sampler.set_epoch` before
    every epoch, of an uninterrupted run and of a resumed one alike; in a loop of one's own, call it.
    """

    images: Images
    positions: Tensor
    normalise: Normalise
    augment: Augment
    global_batch: int
    seed: int
    place: Callable[[], Place]
    first_epoch: int = 0
    epoch: int = 0
    epoch_images: int | None = None
    """Length of an epoch; None: every image once. Beyond that images come again, shuffled anew."""

    @property
    def sampler(self) -> TrainLoader:
        return self

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    @property
    def images_of_epoch(self) -> int:
        return self.epoch_images or len(self.positions)

    def __len__(self) -> int:
        return steps_per_epoch(self.images_of_epoch, self.global_batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (x float32 [B, C, H, W], y int64 [B]) on the device.

        Raises:
            UsageError: the global batch cannot be divided among the processes.
        """
        rank, world, device = self.place()
        n = self.images_of_epoch
        size = min(self.global_batch, n)
        if size % world:
            raise UsageError(f"global batch {size} cannot be split among {world} processes: choose a multiple")
        generator = epoch_generator(self.seed, self.first_epoch + self.epoch)
        batches = [batch[rank::world] for batch in self.batches(generator)]
        draws = []
        if not self.augment.identity:
            drawn = self.augment.draw(n, generator)
            draws = [drawn[i * size : (i + 1) * size][rank::world] for i in range(len(self))]
        for x, y in self.images.stream(batches, device, self.augment, draws):
            yield self.normalise(x), y

    def batches(self, generator: torch.Generator | None = None) -> list[Tensor]:
        """Positions of the images in every global batch of the epoch; the generator is that of the epoch."""
        generator = generator or epoch_generator(self.seed, self.first_epoch + self.epoch)
        have, wanted = len(self.positions), self.images_of_epoch
        rounds = [torch.randperm(have, generator=generator) for _ in range(-(-wanted // have))]
        order, size = self.positions[torch.cat(rounds)], min(self.global_batch, wanted)
        return [order[i * size : (i + 1) * size] for i in range(len(self))]


@dataclass
class EvalLoader:
    """Un-augmented batches in a fixed order; of several ranks, rank r has images r, r + world, and so on."""

    images: Images
    positions: Tensor
    normalise: Normalise
    batch: int
    place: Callable[[], Place]

    def __len__(self) -> int:
        rank, world, _ = self.place()
        return -(-len(self.positions[rank::world]) // self.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        rank, world, device = self.place()
        batches = self.positions[rank::world].split(self.batch)
        for x, y in self.images.stream(batches, device, AUGMENTS["none"], []):
            yield self.normalise(x), y


def steps_per_epoch(images: int, global_batch: int) -> int:
    """Whole global batches in an epoch; one short batch if there are fewer images than that.

    >>> steps_per_epoch(1197, 128), steps_per_epoch(100, 128)
    (9, 1)
    """
    return max(1, images // global_batch)


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """A generator for one epoch, independent of every other (seed, epoch)."""
    state = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
