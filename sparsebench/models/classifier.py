"""Classifier: the LightningModule around every network of the benchmark."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR

from sparsebench.models.distillation import Distillation
from sparsebench.models.several_steps import SeveralSteps
from sparsebench.recipe import Recipe


class Classifier(SeveralSteps):
    """Trains a network on ``(x, y)`` batches by a recipe.

    Args:
        net: maps images ``[B, C, H, W]`` to logits ``[B, K]``.
        recipe: optimiser and schedule.
        first_step: steps of the schedule already behind (after a rewind to a later step).
        schedule_steps: length of the whole schedule; default the number of steps of this fit.
        constant_rate: hold this share of the peak rate instead of following the schedule.
        several: a batch is a list of batches, one step each, of ``total_steps`` in the whole fit.
        distillation: a teacher to follow; None = the labels alone.

    Nothing is logged in the step: each ``self.log`` costs as much as the step of a small network.
    """

    def __init__(
        self,
        net: nn.Module,
        recipe: Recipe,
        *,
        first_step: int = 0,
        schedule_steps: int | None = None,
        constant_rate: float | None = None,
        several: bool = False,
        total_steps: int | None = None,
        distillation: Distillation | None = None,
    ):
        super().__init__(several, total_steps, recipe.clip)
        self.net = net.to(memory_format=torch.channels_last) if recipe.channels_last else net
        self.recipe, self.constant_rate = recipe, constant_rate
        self.first_step, self.schedule_steps = first_step, schedule_steps
        self.distillation = distillation
        self._compiled: Callable[[Tensor], Tensor] | None = None
        """The network as training steps run it; scores, measurements and hooks see the network itself."""

    def on_train_start(self) -> None:
        if self.recipe.compile and self.distillation is None:
            self._compiled = torch.compile(self._through, mode=self.recipe.compile)

    def on_train_end(self) -> None:
        if self._compiled is not None:
            self._compiled = None
            # Few compilations of one function are kept, and the next training has a new network.
            torch.compiler.reset()

    def _through(self, x: Tensor) -> Tensor:
        return self.net(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self._laid_out(x))

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        x = self._laid_out(x)
        logits = self.net(x) if self._compiled is None else self._compiled(x)
        loss = cross_entropy(logits, y, label_smoothing=self.recipe.label_smoothing)
        return loss if self.distillation is None else self.distillation(loss, logits, x)

    def _laid_out(self, x: Tensor) -> Tensor:
        if self.recipe.channels_last and x.dim() == 4:
            return x.contiguous(memory_format=torch.channels_last)
        return x

    def configure_optimizers(self) -> dict:
        optimizer = make_optimizer(self.net, self.recipe)
        steps = self.schedule_steps or int(self.trainer.estimated_stepping_batches)
        schedule = PlainLambda(optimizer, lambda step: self._factor((self.first_step + step) / steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _factor(self, progress: float) -> float:
        return self.recipe.factor(progress) if self.constant_rate is None else self.constant_rate


class PlainLambda(LambdaLR):
    """LambdaLR whose step sets the rates and nothing else: its accounting takes twice the time of the rest."""

    def step(self, epoch: int | None = None) -> None:
        if self._step_count < 1 or epoch is not None:  # called while it is built, or by epoch
            super().step(epoch)
            return
        self.last_epoch += 1
        self._step_count += 1
        for group, base, factor in zip(self.optimizer.param_groups, self.base_lrs, self.lr_lambdas, strict=True):
            group["lr"] = base * factor(self.last_epoch)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


def make_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser, fused, with weight decay on weights only."""
    groups = [
        {"params": [p for p in net.parameters() if p.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in net.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.rate, fused=True)
    return torch.optim.SGD(groups, lr=recipe.rate, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True)
