"""Images too large to keep in memory: decoded, cropped and resized by worker processes at every epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from lightning.fabric.utilities.data import suggested_max_num_workers
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from sparsebench.data.augment import Augment
from sparsebench.data.listing import Listing

__all__ = ["Files"]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's training images scaled to [0, 1]: the figures everybody normalises large photographs with."""


class Files:
    """Images of one split as files; seen by the network as RGB, `side` x `side` pixels."""

    def __init__(self, listing: Listing, side: int = 224, workers: int | None = None) -> None:
        self.listing, self.side = listing, side
        self.labels = listing.labels
        processes = max(1, torch.cuda.device_count())
        self.workers = suggested_max_num_workers(processes) if workers is None else workers

    @property
    def shape(self) -> tuple[int, int, int]:
        return 3, self.side, self.side

    def stream(
        self, batches: Sequence[Tensor], device: torch.device, augment: Augment, draws: Sequence[Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches in order; with draws, each image is cropped and mirrored at random, its draw being the seed."""
        if draws:
            keys = [torch.stack([b, d[:, 0]], 1).tolist() for b, d in zip(batches, draws, strict=True)]
        else:
            keys = [[(position, None) for position in batch.tolist()] for batch in batches]
        loader = DataLoader(
            _Decoder(self.listing, self.side),
            batch_sampler=keys,
            num_workers=self.workers,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # else the workers' seeds are drawn from the global one
        )
        for x, y in loader:
            yield x.to(device, non_blocking=True), y.to(device, non_blocking=True)

    def statistics(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        return 255 * torch.tensor(MEAN), 255 * torch.tensor(STD)

    def digest(self) -> str:
        """Of names, sizes and labels: reading a terabyte to hash it would take hours."""
        return self.listing.digest()


class _Decoder(Dataset):
    """Items (uint8 [3, side, side], label) by (position, seed of the augmentation or None)."""

    def __init__(self, listing: Listing, side: int) -> None:
        self.listing = listing
        self.labels = listing.labels.tolist()
        self.augment = v2.Compose([v2.RandomResizedCrop(side), v2.RandomHorizontalFlip(), v2.PILToTensor()])
        self.centre = v2.Compose([v2.Resize(side * 8 // 7), v2.CenterCrop(side), v2.PILToTensor()])

    def __getitem__(self, key: tuple[int, int | None]) -> tuple[Tensor, int]:
        position, seed = key
        with Image.open(self.listing.path(position)) as file:
            image = file.convert("RGB")
        if seed is None:
            return self.centre(image), self.labels[position]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.augment(image), self.labels[position]
