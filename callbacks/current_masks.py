"""The masks in force: those of the pruning callbacks of a Trainer."""

from __future__ import annotations

from collections.abc import Mapping

import lightning as L
from torch import Tensor


def current_masks(trainer: L.Trainer, on: str = "") -> dict[str, Tensor]:
    """Masks of every callback that has a mapping ``masks``, by the parameter names of one module.

    Args:
        on: dotted path of that module; default the LightningModule. A callback that prunes a submodule says
            so by the path in its own attribute ``on``.

    Empty if no callback prunes.
    """
    found: dict[str, Tensor] = {}
    for callback in trainer.callbacks:
        masks = getattr(callback, "masks", None)
        if isinstance(masks, Mapping):
            place = getattr(callback, "on", "")
            found.update({f"{place}.{name}" if place else name: mask for name, mask in masks.items()})
    prefix = f"{on}." if on else ""
    return {name[len(prefix) :]: mask for name, mask in found.items() if name.startswith(prefix)}
