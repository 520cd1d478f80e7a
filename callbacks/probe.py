"""Probe: a fixed set of training images on which a network is looked at again and again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Subset

from sparsebench.data.loader import most_on_cpu
from sparsebench.errors import UsageError


def collect_probe(trainer: L.Trainer, images: int) -> list:
    """Batches of ``images`` training examples, the same ones on every rank and after a resume.

    A data module with a method ``probe(n)`` is asked for them. Otherwise they are a random subset, drawn
    with a fixed seed, of the training loader's data set, in the augmentation of that data set. Of a loader
    without an indexed data set they are the first batches, and then neither promise holds: pass a probe.
    No random state is changed.

    Raises:
        UsageError: the loader's batches are not tensors or tuples that begin with one.
    """
    with isolate_rng():
        torch.manual_seed(0)
        if hasattr(trainer.datamodule, "probe"):
            batches = trainer.datamodule.probe(images)
        else:
            batches = _take(_fixed_order(trainer.train_dataloader, images), images)
        on_cpu = trainer.strategy.root_device.type == "cpu"
        return list(in_small_batches(batches) if on_cpu else batches)


def in_small_batches(batches: Iterable) -> Iterator:
    """Batches ``x`` or ``(x, ...)``, those too large for a CPU in parts without what follows x.

    >>> [len(part) for (part,) in in_small_batches([(torch.zeros(200, 3, 32, 32), torch.zeros(200))])]
    [85, 85, 30]
    """
    for batch in batches:
        x = batch if isinstance(batch, Tensor) else batch[0]
        most = most_on_cpu(x[0].numel())
        yield from [batch] if len(x) <= most else ((part,) for part in x.split(most))


def _fixed_order(loader: Any, images: int) -> Iterable:
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return loader
    chosen = torch.randperm(len(loader.dataset))[:images].tolist()
    size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None) or 128
    return DataLoader(Subset(loader.dataset, chosen), size, collate_fn=loader.collate_fn)


def _take(batches: Iterable, images: int) -> list:
    """The first batches, cut to ``images`` inputs in all; labels are left out."""
    taken: list[Tensor] = []
    for batch in batches:
        x = batch if isinstance(batch, Tensor) else batch[0] if isinstance(batch, list | tuple) else None
        if not isinstance(x, Tensor):
            raise UsageError(
                f"a training batch is a {type(batch).__name__}, no tensor and no tuple that begins with one: "
                "pass probe=batches of inputs to the callback"
            )
        taken.append(x[:images])
        images -= len(x)
        if images <= 0:
            break
    return taken
