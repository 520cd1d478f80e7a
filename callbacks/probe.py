"""Probe: a fixed set of training images on which a network is looked at again and again."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.seed import isolate_rng
from torch.utils.data import DataLoader, IterableDataset, Subset


def collect_probe(trainer: L.Trainer, images: int) -> list:
    """About ``images`` training examples of all ranks together, as batches; the same ones at any time of a run.

    A data module with a method ``probe(n)`` is asked for them. Otherwise they are a seeded random subset of
    the training loader's data set, and with no indexed data set the loader's first batches. They come with
    the loader's augmentation: pass a probe of your own where that matters. No random state is changed.
    """
    module = getattr(trainer, "datamodule", None)
    if hasattr(module, "probe"):
        return list(module.probe(images))[trainer.global_rank :: trainer.world_size]
    share = -(-images // trainer.world_size)
    with isolate_rng():
        torch.manual_seed(0)
        return _take(_fixed_order(trainer, images), share)


def _fixed_order(trainer: L.Trainer, images: int) -> Iterable:
    loader = trainer.train_dataloader
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return loader
    chosen = torch.randperm(len(loader.dataset))[:images].tolist()
    mine = chosen[trainer.global_rank :: trainer.world_size]
    return DataLoader(Subset(loader.dataset, mine), loader.batch_size or 128, collate_fn=loader.collate_fn)


def _take(batches: Iterable, images: int) -> list:
    """The first batches, until they hold ``images`` examples; the last one is not cut."""
    ...
