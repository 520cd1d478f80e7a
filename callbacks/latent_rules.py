"""Latent rules: Top-KAST, STR and movement pruning; ``LatentSparsity`` runs them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Optimizer

from sparsebench.allocation import kept_count
from sparsebench.callbacks.latent_upkeep import LatentUpkeep, stored
from sparsebench.callbacks.ranks import agree
from sparsebench.callbacks.upkeep import Upkeep
from sparsebench.masks import Masks
from sparsebench.selection import select
from sparsebench.soft import soft_threshold, threshold_shift, topkast_masks


class Movement(LatentUpkeep):
    """Scores add up over the steps; a masked weight keeps its value and may return with it.

    Masks follow the scores and the ramp at every step, as published: kept for an interval they would let the scores
    of what is masked run on in one direction, and be turned over at its end.
    """

    defaults: ClassVar[dict[str, Any]] = {**LatentUpkeep.defaults, "invert": False}
    every_step: ClassVar[bool] = True

    def __init__(self, params, masks, state, allocation, *, invert: bool = False, **_: Any):
        super().__init__(params, masks, state, allocation)
        self.invert = invert
        zeros = {n: torch.zeros_like(w) for n, w in self.latent.items()}
        self.scores = self._like_weights(state["scores"] if state else zeros)

    @staticmethod
    def plan(steps: int, sparsity: float, every: int, **arguments: Any) -> dict[int, float]:
        """The last choice of masks is an update of the plan too."""
        updates = LatentUpkeep.plan(steps, sparsity, every, **arguments)
        return updates | {max(steps - 1, *updates): sparsity}

    def next_masks(self, sparsity: float) -> Masks:
        # NaN (a diverged training) ranks last, so that counts stay exact.
        signed = {n: -s if self.invert else s for n, s in self.scores.items()}
        ranked = {n: s.nan_to_num(torch.finfo(s.dtype).min) for n, s in signed.items()}
        return select(ranked, 1 - sparsity, allocation=self.allocation)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"scores": stored(self.scores)}

    def _before_step(self) -> None:
        """``sparsebench.soft.movement_increment`` of all tensors, in one fused operation."""
        names = self._stepping()
        grads = [self.params[n].grad for n in names]
        scores, latent = ([values[n] for n in names] for values in (self.scores, self.latent))
        if names:
            torch._foreach_addcmul_(scores, latent, grads, value=-1.0)


class TopKAST(LatentUpkeep):
    """Forward the largest weights, train some more; those are decayed more strongly.

    The additional decay of the exploration set is taken from the weights before the step, not added to gradients:
    neither clipping nor Adam's normalisation sees it. Under SGD without momentum, as published, that is the same.
    """

    defaults: ClassVar[dict[str, Any]] = {"extra": 0.1, "decay": None}

    def __init__(self, params, masks, state, allocation, *, extra: float, decay: float | None):
        super().__init__(params, masks, state, allocation)
        self.extra, self.decay = extra, decay
        self._wider = Masks(state["trained"]).to(next(iter(masks.values())).device) if state else masks
        self.trained = Upkeep(params, self._wider)
        self._note_exploration(masks)

    @staticmethod
    def plan(steps: int, sparsity: float, every: int, **_: Any) -> dict[int, float]:
        return dict.fromkeys(range(0, steps, every), sparsity)

    def next_masks(self, sparsity: float) -> Masks:
        forward, wider = topkast_masks(self.latent, 1 - sparsity, self.extra, self.allocation)
        self._wider = agree(wider)
        return forward

    def change(self, masks: Masks) -> None:
        super().change(masks)
        self.trained.change(self._wider)
        self._note_exploration(masks)

    def mask_gradients(self) -> None:
        super().mask_gradients()
        self._decay_exploration()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"trained": {n: m.cpu() for n, m in self._wider.items()}}

    def _note_exploration(self, masks: Masks) -> None:
        self._exploring = {n: self.trained._factors[n] - self.forward._factors[n] for n in masks}
        self._strength = 1 / masks.density if self.decay is None else self.decay

    @torch.no_grad()
    def _decay_exploration(self) -> None:
        groups = {n: group for n, (_, group) in self._groups().items()}
        names = [n for n in self._stepping() if n in groups and groups[n].get("weight_decay")]
        if names:
            more = self._strength - 1
            rates = [-more * float(groups[n]["lr"]) * groups[n]["weight_decay"] for n in names]
            weights, latent, exploring = (
                [values[n] for n in names] for values in (self.params, self.latent, self._exploring)
            )
            torch._foreach_addcmul_(weights, latent, exploring, scalars=rates)


class SoftThresholds(LatentUpkeep):
    """One threshold a tensor, learned beside the weights; their common shift is solved for the count.

    The thresholds have an optimiser of the weights' class and settings, weight decay included. All latent weights
    are trained; one below its threshold has no gradient.
    """

    allocation: ClassVar[str] = "global"

    def __init__(self, params, masks, state, allocation, **_: Any):
        super().__init__(params, masks, state, allocation)
        self.trained = Upkeep(params, Masks({n: torch.ones_like(m) for n, m in masks.items()}))
        first = next(iter(self.params.values()))
        kind = torch.promote_types(first.dtype, torch.float32)
        self.thresholds = nn.Parameter(torch.zeros(len(masks), dtype=kind, device=first.device))
        self.active = False
        """Whether anything is thresholded yet."""
        self._stored_optimizer = None
        if state:
            self.thresholds.data.copy_(state["thresholds"])
            self.active, self._stored_optimizer = state["active"], state["optimizer"]

    def attach(self, optimizers: Iterable[Optimizer]) -> None:
        super().attach(optimizers)
        owner, _ = next(iter(self._groups().values()))
        self._optimizer = type(owner)([{**self._settings(), "params": [self.thresholds]}])
        if self._stored_optimizer:
            self._optimizer.load_state_dict(self._stored_optimizer)

    def next_masks(self, sparsity: float) -> Masks:
        total = sum(w.numel() for w in self.latent.values())
        kept = kept_count(1 - sparsity, total)
        self.active = kept < total
        if not self.active:
            return Masks({n: torch.ones_like(w, dtype=torch.bool) for n, w in self.latent.items()})
        masks, shift = threshold_shift(self.latent, self.thresholds.detach(), kept)
        self.thresholds.data += shift
        return masks

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "thresholds": self.thresholds.detach().to("cpu", copy=True),
            "active": self.active,
            "optimizer": self._optimizer.state_dict(),
        }

    def _before_step(self) -> None:
        """Chain rule: dL/dw = g where the effective weight is not 0; dL/ds = -sigmoid'(s) sum of g sign(w) there."""
        self.thresholds.grad, names = None, self._stepping()
        if not self.active or not names:
            return
        grads = [self.params[n].grad for n in names]
        signs = torch._foreach_sign([self.params[n].detach() for n in names])
        torch._foreach_mul_(grads, signs)
        sums = dict(zip(names, [g.sum() for g in grads], strict=True))
        torch._foreach_mul_(grads, signs)
        share = self.thresholds.sigmoid()
        along = torch.stack([sums.get(n, share.new_zeros(())) for n in self.params]).to(share.dtype)
        self.thresholds.grad = -share * (1 - share) * along

    def _after_step(self) -> None:
        if self.active:
            self._optimizer.param_groups[0] |= self._settings()
            self._optimizer.step()

    def _show(self) -> None:
        if not self.active:
            return super()._show()
        for threshold, (name, weight) in zip(self.thresholds.detach(), self.params.items(), strict=True):
            weight.copy_(soft_threshold(self.latent[name], threshold))

    def _settings(self) -> dict[str, Any]:
        """Learning rate, momentum, decay and the rest, as the weights have them now."""
        _, group = next(iter(self._groups().values()))
        return {k: v for k, v in group.items() if k not in ("params", "fused", "foreach")}


RULES = {"topkast": TopKAST, "str": SoftThresholds, "movement": Movement}
