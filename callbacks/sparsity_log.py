"""SparsityLog: the true sparsity, counted from the weights themselves."""

from __future__ import annotations

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_warn

from sparsebench.callbacks.current_masks import current_masks
from sparsebench.callbacks.epoch_values import tell
from sparsebench.scope import scope_of


class SparsityLog(L.Callback):
    """Logs once an epoch which fraction of the prunable weights is exactly 0.

    Args:
        per_layer: also log ``sparsity/<parameter name>`` of every prunable tensor.

    Logs ``sparsity``; ``last`` holds it with every layer's. Warns if a weight that the masks of a pruning
    callback remove is not 0, in which case the sparsity that was asked for is not the one that was trained.
    Zeros among the kept weights are no contradiction (weights just grown, layers initialised to zeros).
    """

    def __init__(self, per_layer: bool = False):
        self.per_layer = per_layer
        self.last: dict[str, float] = {}

    @torch.no_grad()
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        prunable = scope_of(pl_module).prunable
        masks = current_masks(trainer)
        counts = [(weight == 0).sum() for weight in prunable.values()]
        params = dict(pl_module.named_parameters())
        revived = [((params[name] != 0) & ~mask.to(params[name].device)).sum() for name, mask in masks.items()]
        read = torch.stack(counts + revived).tolist()
        zeros, revived = read[: len(counts)], read[len(counts) :]
        sizes = [weight.numel() for weight in prunable.values()]
        self.last = {"sparsity": sum(zeros) / sum(sizes)}
        self.last |= {f"sparsity/{name}": n / size for name, n, size in zip(prunable, zeros, sizes, strict=True)}
        tell(trainer, self.last if self.per_layer else {"sparsity": self.last["sparsity"]})
        if sum(revived):
            where = ", ".join(f"{name} ({n})" for name, n in zip(masks, revived, strict=True) if n)
            rank_zero_warn(
                f"{sum(revived)} pruned weights are not 0 after epoch {trainer.current_epoch}, in {where}: "
                "something writes to the weights after the optimiser step; keep it off pruned weights"
            )
