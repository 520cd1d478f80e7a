"""The masks in force: those of the pruning callback of a Trainer, by the parameter names of the LightningModule."""

from __future__ import annotations

from collections.abc import Mapping

import lightning as L
from torch import Tensor


def current_masks(trainer: L.Trainer) -> dict[str, Tensor]:
    """Masks of every callback that has a mapping ``masks``; empty if there is none.

    A callback that prunes a submodule says so by the dotted path in its attribute ``on``.
    """
    found: dict[str, Tensor] = {}
    for callback in trainer.callbacks:
        masks = getattr(callback, "masks", None)
        if isinstance(masks, Mapping):
            on = getattr(callback, "on", "")
            found.update({f"{on}.{name}" if on else name: mask for name, mask in masks.items()})
    return found
