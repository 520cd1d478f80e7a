"""Several steps: many optimiser steps in one ``training_step``, so that Lightning's constant is paid once for all.

What Lightning does around a step takes longer than the step of a small network itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer


class SeveralSteps(L.LightningModule):
    """A LightningModule whose batches are lists of batches (``Chunks``), one optimiser step each.

    Subclasses define ``loss(batch)`` and ``configure_optimizers`` with one optimiser. As in automatic optimisation,
    callbacks hear of every step by ``on_before_optimizer_step`` and ``on_train_batch_end``; of Lightning's other hooks
    around a batch once a list. The result is that of one step a batch, bit for bit.

    Args:
        several: False for the ordinary way, one batch a ``training_step``.
        total_steps: optimiser steps of the whole fit, which the Trainer cannot know; None = it can.
        clip: largest gradient norm, taken after callbacks have masked gradients.
    """

    fires_step_hooks = True
    """Callbacks may rely on the hooks of automatic optimisation, although this is manual."""

    def __init__(self, several: bool, total_steps: int | None = None, clip: float | None = None):
        super().__init__()
        self.automatic_optimization, self.total_steps, self.clip = not several, total_steps, clip

    def loss(self, batch: Any) -> Tensor:
        """The mean loss of one batch."""
        raise NotImplementedError

    def training_step(self, batch: Any, index: int) -> Tensor | dict[str, Tensor]:
        return self.loss(batch) if self.automatic_optimization else self._steps(batch)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Lists of batches that are there already are not taken apart and put together again."""
        return batch if _there(batch, device) else super().transfer_batch_to_device(batch, device, dataloader_idx)

    def _steps(self, batches: list) -> dict[str, Tensor]:
        trainer, optimizer, schedule = self.trainer, self.optimizers(), self.lr_schedulers()
        before, after = (self._hooks(name) for name in ("on_before_optimizer_step", "on_train_batch_end"))
        parameters = [p for group in optimizer.optimizer.param_groups for p in group["params"]]
        for number, batch in enumerate(batches):
            for parameter in parameters:  # what zero_grad does, without its accounting
                parameter.grad = None
            outputs = {"loss": self._step(trainer, batch, optimizer.optimizer, before)}
            # Lightning counts by these what it calls steps.
            optimizer._on_before_step()
            optimizer._on_after_step()
            if schedule is not None:
                schedule.step()
            if number + 1 < len(batches):  # of the last one Lightning tells them
                for hook in after:
                    hook(trainer, self, outputs, batch, number)
        return outputs

    def _step(self, trainer: L.Trainer, batch: Any, optimizer: Optimizer, before: list) -> Tensor:
        loss = self.loss(batch)
        loss.backward()
        for hook in before:
            hook(trainer, self, optimizer)
        if self.clip is not None:
            self.clip_gradients(optimizer, self.clip, "norm")
        optimizer.step()
        return loss.detach()

    def _hooks(self, name: str) -> list:
        """The callbacks' own methods of a name, without those that do nothing."""
        found = [getattr(callback, name) for callback in self.trainer.callbacks]
        return [hook for hook in found if hook.__func__ is not getattr(L.Callback, name)]


def _there(batches: Any, device: torch.device) -> bool:
    """Whether these are tuples of tensors on a device.

    >>> _there([(torch.zeros(1), torch.zeros(1))], torch.device("cpu")), _there([torch.zeros(1)], torch.device("cpu"))
    (True, False)
    """
    return isinstance(batches, list) and all(
        isinstance(batch, tuple) and all(isinstance(part, Tensor) and part.device == device for part in batch)
        for batch in batches
    )


class Chunks:
    """Batches of a loader in lists of at most so many, for ``SeveralSteps``."""

    def __init__(self, loader: Any, size: int):
        self.loader, self.size = loader, size

    @property
    def sampler(self) -> Any:
        """The loader's, which Lightning tells the epoch."""
        return getattr(self.loader, "sampler", None)

    def __len__(self) -> int:
        return -(-len(self.loader) // self.size)

    def __iter__(self) -> Iterator[list]:
        return chunks(self.loader, self.size)


def chunks(items: Iterable, size: int) -> Iterator[list]:
    """Items in lists of at most so many.

    >>> list(chunks(range(5), 2))
    [[0, 1], [2, 3], [4]]
    """
    chunk: list = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def like_automatic(module: L.LightningModule) -> bool:
    """Whether hooks come once a step in the order of automatic optimisation."""
    return module.automatic_optimization or getattr(module, "fires_step_hooks", False)
