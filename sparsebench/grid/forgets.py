"""Forgets: counts, while a network is trained, how often it forgets each training image."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from sparsebench.diet.forgetting import forgetting
from sparsebench.ranks import gather, rank, world


class ForgettingEvents(L.Callback):
    """Looks at what the training's own forward passes got right; which images those were follows from seed and epoch.

    The ranks tell each other at the end of an epoch, for an image goes to another rank every time. An epoch must not
    show an image twice.
    """

    def __init__(self, data):
        self.data, self.labels = data, data.train_labels
        self.count = forgetting(data.train_size)
        self._seen: list[Tensor] = []
        self._answers: list[Tensor] = []
        self._hook: Any = None

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        loader = self.data.train_dataloader()
        loader.set_epoch(trainer.current_epoch)
        shares = [batch[rank() :: world()].contiguous() for batch in loader.batches()]
        self._seen = [torch.searchsorted(self.data.train_positions, share) for share in shares]
        self._answers = []
        self._hook = pl_module.net.register_forward_hook(self._note)

    def _note(self, net: nn.Module, inputs: tuple[Tensor, ...], logits: Tensor) -> None:
        if net.training:
            self._answers.append(logits.detach().argmax(1))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._hook.remove()
        seen, answers = torch.cat(self._seen), torch.cat(self._answers).cpu()
        for images, right in gather((seen, answers == self.labels[seen])):
            self.count.visit(images, right)

    def state_dict(self) -> dict[str, Any]:
        return self.count.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count.load_state_dict(state)
