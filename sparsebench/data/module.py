"""DataModule: the splits of one data set, served as loaders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from functools import cached_property
from hashlib import sha256
from math import prod
from pathlib import Path

import lightning as L
import numpy as np
import torch
from torch import Tensor

from sparsebench.corruptions.shown import Shown
from sparsebench.corruptions.suite import Views
from sparsebench.data import load, traits_of
from sparsebench.data.augment import Augment, by_name
from sparsebench.data.loader import EvalLoader, Normalise, TrainLoader, epoch_generator, most_on_cpu, steps_per_epoch
from sparsebench.data.source import Images, Resident, Source
from sparsebench.data.splits import PARTS, check_split, check_subset, hash_rank, stratified, subset_of
from sparsebench.errors import UsageError

__all__ = ["DataModule"]

LARGEST_VALIDATION = 5000


class DataModule(L.LightningDataModule):
    """Training, validation and test split of a data set.

    The validation images are a fixed stratified part of the official training images. Order and
    augmentation of an epoch are a function of (`seed`, `first_epoch` + epoch) alone.

    Args:
        dataset: a registered name or `imagefolder:PATH`.
        global_batch: images of one optimiser step over all processes.
        seed: of order and augmentation; may be set again before the next `train_dataloader`.
        augment: a name from `sparsebench.data.augment`, "default" for the data set's own, None for none.
        root: where data sets lie; default $SPARSEBENCH_DATA, else ./data.
        eval_batch: images of one un-augmented batch; fewer on a CPU, where that is faster.
        download: fetch what is missing, where the publisher allows it.
        device: where batches shall be; the trainer's once one is attached.
        subset: part ("train", "validation", "test") -> so many images of it, a fixed draw with every class in
            proportion; parts not named are used whole.

    Attributes:
        first_epoch: number of epochs of this data order that were trained before.
        rank, world: of this process; None asks `torch.distributed` when a loader starts.
        shard_eval: let each rank have its part of the evaluation images (each image once, uneven by at
            most one) instead of all of them; only for metrics that are reduced over the ranks.
        test_reads: how often the test split was handed out.
        corrupted_reads: how often it was under corruptions, along with a reading or again.
    """

    def __init__(
        self,
        dataset: str,
        global_batch: int,
        *,
        seed: int = 0,
        augment: str | None = "default",
        root: str | Path | None = None,
        eval_batch: int = 1024,
        download: bool = False,
        device: str | torch.device = "cpu",
        subset: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        if global_batch < 1:
            raise UsageError(f"global_batch={global_batch} must be at least 1")
        self.name, self.global_batch, self.seed, self.eval_batch = dataset, global_batch, seed, eval_batch
        self.root, self.download, self.device = root, download, torch.device(device)
        self.subset = dict(subset or {})
        self.first_epoch, self.test_reads, self.corrupted_reads = 0, 0, 0
        self.rank: int | None = None
        self.world: int | None = None
        self.shard_eval = False
        self._epoch_images: int | None = None
        self._unrestricted: DataModule | None = None
        self._augment_name = augment
        self._shown: dict[str, Shown] = {}
        self._traits = traits_of(dataset)

    def prepare_data(self) -> None:
        """Download, if asked to, and decode: one process does it for all."""
        self._source = load(self.name, self.root, self.download)

    def setup(self, stage: str | None = None) -> None:
        """Load the images and make the splits.

        Raises:
            UsageError: files are missing, the augmentation does not suit the data set, or it has no such subset.
        """
        self._splits  # noqa: B018
        self._augment  # noqa: B018

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return self._source.train.shape

    @property
    def num_classes(self) -> int:
        return len(self._source.classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the labels."""
        return self._source.classes

    @property
    def train_size(self) -> int:
        return len(self._splits[0])

    @property
    def test_size(self) -> int:
        return len(self._splits[2])

    @property
    def train_positions(self) -> Tensor:
        """Positions [n] of the training images among the official ones."""
        return self._splits[0]

    @property
    def train_labels(self) -> Tensor:
        """Labels [n] of the training images, in the order of `train_positions`."""
        return self._source.train.labels[self._splits[0]]

    @property
    def epoch_images(self) -> int:
        """Images of an epoch: the training images, each once, unless `restricted` says otherwise."""
        return self._epoch_images or self.train_size

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(self.epoch_images, self.global_batch)

    @property
    def unrestricted(self) -> DataModule:
        """The same data with all training images."""
        return self._unrestricted or self

    def restricted(self, positions: Tensor, epoch_images: int | None = None) -> DataModule:
        """The same data with some of its training images alone.

        Normalisation stays that of all training images, validation and test split stay, the digest is another. The
        images are not copied.

        Args:
            positions: those to keep, int64 [n] out of `train_positions`, in any order; handed out sorted.
            epoch_images: length of an epoch in images; None: every image once. In a longer epoch all images are
                seen equally often, or once more: they are shuffled anew each time all were seen.

        Raises:
            UsageError: no position is kept, one is not of a training image, or is given twice.
        """
        kept, times = torch.as_tensor(positions, dtype=torch.int64).unique(return_counts=True)
        foreign = ~torch.isin(kept, self._splits[0])
        if not len(kept) or foreign.any() or times.max() > 1:
            wrong = f"{int(foreign.sum())} not of training images" if len(kept) else "none left"
            raise UsageError(f"{self.name}: {len(positions)} positions to keep, {wrong}; keep some, each once")
        other = copy(self)
        other._normalise, other._splits = self._normalise, (kept, *self._splits[1:])
        other._epoch_images, other._unrestricted = epoch_images, self.unrestricted
        other.__dict__.pop("digest", None)
        return other

    @cached_property
    def digest(self) -> str:
        """SHA-256 over images (of large sets: file names and sizes), labels and splits."""
        state = sha256((self._source.train.digest() + self._source.test.digest()).encode())
        # Whole test splits are digested with their images; so it was before there were subsets.
        for positions in self._splits if "test" in self.subset else self._splits[:2]:
            state.update(positions.numpy().tobytes())
        return state.hexdigest()

    def train_dataloader(self) -> TrainLoader:
        """Shuffled, augmented training batches."""
        return TrainLoader(
            self._source.train,
            self._splits[0],
            self._normalise,
            self._augment,
            self.global_batch,
            self.seed,
            self._place,
            self.first_epoch,
            epoch_images=self._epoch_images,
        )

    def in_order(self) -> EvalLoader:
        """Training images, un-augmented, in the order of `train_positions`."""
        return self._evaluation(self._source.train, self._splits[0])

    def val_dataloader(self) -> EvalLoader:
        """Validation images, un-augmented, in a fixed order."""
        return self._evaluation(self._source.train, self._splits[1])

    def test_dataloader(self) -> EvalLoader:
        """Test images, un-augmented, in a fixed order; every call counts as one reading of the test split."""
        self.test_reads += 1
        return self._evaluation(self._source.test, self._splits[2])

    def test_reading(self, corruptions: str) -> tuple[EvalLoader, Iterator[tuple[Views, EvalLoader]]]:
        """The one reading of the test split: its images, and the same under a set of corruptions, part by part.

        Each part comes with what is shown in it. Several ranks share the parts as they share the test images.
        """
        clean = self.test_dataloader()
        return clean, self.corrupted(corruptions)

    def corrupted_digest(self, corruptions: str) -> str | None:
        """SHA-256 of the corrupted images that were handed out; None for sets too large to keep."""
        return self._shown[corruptions].digest

    def corrupted(self, which: str) -> Iterator[tuple[Views, EvalLoader]]:
        """The corrupted test images again, for more measures of the same reading."""
        self.corrupted_reads += 1
        if which not in self._shown:
            name = self.name.partition(":")[0]  # of a folder's path no number may depend
            device = self._place()[2]
            self._shown[which] = Shown(which, self._source.test, self._splits[2], name, device)
        for views, images in self._shown[which]:
            yield views, self._evaluation(images, torch.arange(len(images.labels)))

    def probe(self, n: int = 2048) -> list[tuple[Tensor, Tensor]]:
        """The first n training images of a fixed random order, un-augmented; the same on every rank."""
        order = torch.from_numpy(np.argsort(hash_rank(self.train_size, f"{self.name}/probe"), kind="stable"))
        return self._batches(self._splits[0][order[:n]])

    def per_class(self, k: int, seed: int) -> list[tuple[Tensor, Tensor]]:
        """k un-augmented training images of every class, drawn by `seed`, classes taking turns.

        Raises:
            UsageError: a class has fewer than k training images.
        """
        positions = self._splits[0]
        positions = positions[torch.randperm(len(positions), generator=epoch_generator(seed, 0))]
        labels = self._source.train.labels[positions]
        counts = torch.bincount(labels, minlength=self.num_classes)
        if counts.min() < k:
            raise UsageError(
                f"{self.name}: {k} images of every class asked for, but class {int(counts.argmin())} has "
                f"{int(counts.min())} for training: ask for fewer"
            )
        by_class = positions[labels.argsort(stable=True)]
        first = counts.cumsum(0) - counts
        turns = first[None, :] + torch.arange(k)[:, None]
        return self._batches(by_class[turns.flatten()])

    @cached_property
    def _source(self) -> Source:
        return load(self.name, self.root)

    @cached_property
    def _splits(self) -> tuple[Tensor, Tensor, Tensor]:
        """Positions of training and validation images among the official training images, and of test images."""
        labels = self._source.train.labels.numpy()
        n = len(labels)
        held = self._traits.get("validation", min(LARGEST_VALIDATION, n // 10))
        train, validation = stratified(labels, min(held, n // 5), f"{self.name}/validation")
        if "split" in self._traits:
            check_split(self.name, self._traits["split"], train=train, validation=validation)
        of_test = self._source.test.labels.numpy()
        parts = dict(zip(PARTS, (train, validation, np.arange(len(of_test))), strict=True))
        check_subset(self.name, self.subset, {part: len(found) for part, found in parts.items()}, self.num_classes)
        return tuple(
            torch.from_numpy(
                subset_of(of_test if part == "test" else labels, found, self.subset.get(part), f"{self.name}/{part}")
            )
            for part, found in parts.items()
        )

    @cached_property
    def _normalise(self) -> Normalise:
        return Normalise(*self._source.train.statistics(self._splits[0]))

    @cached_property
    def _augment(self) -> Augment:
        resident = isinstance(self._source.train, Resident)
        name = self._augment_name or "none"
        if name == "default":
            name = self._traits.get("augment", "crop_flip" if resident else "resized_crop_flip")
        augment = by_name(name)
        if not augment.identity and augment.resized == resident:
            other = "shift1, crop, crop_flip" if resident else "resized_crop_flip"
            raise UsageError(f"augment={name!r} does not suit {self.name}: choose one of none, {other}")
        return augment

    def _evaluation(self, images: Images, positions: Tensor) -> EvalLoader:
        on_cpu = self._place()[2].type == "cpu"
        batch = min(self.eval_batch, most_on_cpu(prod(images.shape))) if on_cpu else self.eval_batch
        return EvalLoader(images, positions, self._normalise, batch, self._eval_place)

    def _batches(self, positions: Tensor) -> list[tuple[Tensor, Tensor]]:
        # What is scored is averaged over batches: their size does not depend on the device.
        place = (0, 1, self._place()[2])
        return list(EvalLoader(self._source.train, positions, self._normalise, self.eval_batch, lambda: place))

    def _place(self) -> tuple[int, int, torch.device]:
        """Rank, number of ranks and device of this process, as they are now."""
        device = self.trainer.strategy.root_device if self.trainer else self.device
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        rank, world = 0, 1
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        rank = rank if self.rank is None else self.rank
        world = world if self.world is None else self.world
        return rank, world, device

    def _eval_place(self) -> tuple[int, int, torch.device]:
        rank, world, device = self._place()
        return (rank, world, device) if self.shard_eval else (0, 1, device)
