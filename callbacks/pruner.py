"""Pruner: masks for any LightningModule, by any criterion, on any schedule."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from itertools import islice
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sparsebench.callbacks.ranks import agree, rank_zeros
from sparsebench.callbacks.schedules import Schedule, named
from sparsebench.callbacks.upkeep import Upkeep
from sparsebench.criteria import is_structured, looks_at_data, split_method
from sparsebench.errors import UsageError
from sparsebench.functional import Pruning, pruning
from sparsebench.masks import Masks
from sparsebench.models.several_steps import like_automatic
from sparsebench.scope import Scope, scope_of
from sparsebench.scoring import Loss, on_device


class Pruner(L.Callback):
    """Prunes while a Trainer fits and keeps what is pruned at exactly 0.

    Args:
        method: ``criterion`` or ``criterion/allocation``, such as ``"magnitude"`` or ``"random/erk"``.
        sparsity: removed fraction of the prunable weights at the end of the schedule, in [0, 1).
        schedule: ``oneshot`` (before training), ``iterative``, ``cubic`` (GMP), ``linear``, or a schedule object.
        masks: fixed masks instead of a method: they are applied and kept.
        data: batches for criteria that need some, or a function that returns them; default: the first
            ``batches`` of the training loader.
        loss: ``loss(model, batch) -> scalar`` for those criteria; default cross-entropy of ``model(x)`` and ``y``.
        on: dotted path of the submodule to prune; default the whole LightningModule.
        include, exclude: name patterns, see ``scope_of``.
        seed: of random scores; the same masks on all ranks whatever their own seeds.
        invert: keep the lowest scores, a control.
        arguments: the criterion's own.

    The model's parameters and the keys of its ``state_dict`` stay those of the dense model. Checkpoints carry
    masks and history; a resumed run continues the schedule. With ``RandomState`` a run resumed at the end of an
    epoch equals an uninterrupted one bit for bit; in the middle of an epoch the schedule goes on exactly, but a
    shuffling loader starts that epoch in a new order. Other callbacks with a method
    ``on_masks_changed(trainer, module, pruner)`` are told of every change before the masks are applied.

    Steps are Lightning's ``global_step``: in manual optimisation every step of every optimiser counts, so give
    the Trainer ``max_steps`` there. Clipping sees kept weights only (in manual optimisation: after
    ``manual_backward``). Step the optimisers that ``self.optimizers()`` returns, not those underneath.

    >>> Pruner("magnitude", sparsity=0.9, schedule="cubic").method
    'magnitude/global'
    """

    def __init__(
        self,
        method: str = "magnitude",
        sparsity: float = 0.9,
        *,
        schedule: str | Schedule = "oneshot",
        masks: Masks | None = None,
        data: Iterable | Callable[[], Iterable] | None = None,
        batches: int = 1,
        loss: Loss | None = None,
        on: str = "",
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        seed: int = 0,
        invert: bool = False,
        **arguments: Any,
    ):
        if not 0 <= sparsity < 1:
            raise UsageError(
                f"sparsity {sparsity!r} is not in [0, 1): it is the removed fraction of the prunable weights"
            )
        self.criterion, self.allocation = split_method(method, arguments)
        if is_structured(self.criterion):
            raise UsageError(
                f"{self.criterion} removes units, and the optimiser of a running fit holds the parameters as they are: "
                f"call sparsebench.prune(model, {method!r}, ...) before the fit"
            )
        self.sparsity = sparsity
        self.schedule = named(schedule)
        # An iterator would be used up by the first of several updates.
        data = list(data) if isinstance(data, Iterator) else data
        self.masks = masks
        self.data, self.batches, self.loss = data, batches, loss
        self.on, self.include, self.exclude = on, list(include), list(exclude)
        self.seed, self.invert, self.arguments = seed, invert, arguments
        self.static = masks is not None
        self.history: list[dict[str, Any]] = []
        self.leaked = 0
        """Pruned entries of weights and optimiser state not exactly 0 at the ends of epochs; must stay 0."""
        self.notes: list[str] | None = None
        """None: scores that are not finite are an error. A list: they rank last and are noted in it."""
        self.score_seconds, self.score_passes = 0.0, 0
        """Time spent on choosing masks, and how often the network was scored for it."""
        self._done = -1
        self._weights: dict[str, Tensor] = {}
        self._plan: dict[int, float] = {}
        self._upkeep: Upkeep | None = None

    @property
    def method(self) -> str:
        return f"{self.criterion}/{self.allocation}"

    @property
    def state_key(self) -> str:
        return f"{type(self).__name__}[{self.on}]"

    def target(self, module: L.LightningModule) -> nn.Module:
        return module.get_submodule(self.on)

    def scope(self, module: L.LightningModule) -> Scope:
        return scope_of(self.target(module), self.include, self.exclude)

    def plan(self, steps: int) -> dict[int, float]:
        """What happens after which optimiser step."""
        return {} if self.static else self.schedule.plan(steps, self.sparsity)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        scope = self.scope(pl_module)
        device = next(iter(scope.prunable.values())).device
        fresh = self.masks is None
        self.masks = (Masks.dense(self.target(pl_module), scope.prunable) if fresh else self.masks).to(device)
        params = dict(self.target(pl_module).named_parameters())
        self.masks.apply(self.target(pl_module))
        self._upkeep = Upkeep(params, self.masks)
        self._upkeep.mask_optimizer_state(trainer.optimizers)
        self._plan = self.plan(total_steps(trainer, pl_module))
        self._update_if_due(trainer, pl_module)
        self._upkeep.attach(trainer.optimizers, gradients_are_masked=like_automatic(pl_module))

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Another callback may have brought in weights or optimiser state of a denser network.
        self._upkeep.mask_weights()
        self._upkeep.mask_optimizer_state(trainer.optimizers)

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # In manual optimisation the user clips between backward and step.
        if not like_automatic(pl_module):
            self._upkeep.mask_gradients()

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer) -> None:
        self._upkeep.mask_gradients()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self._update_if_due(trainer, pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self._upkeep.undisturbed(trainer.optimizers):
            self._upkeep.clear_nonfinite(trainer.optimizers)
            self.leaked += self._upkeep.leaks(trainer.optimizers)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._upkeep.detach()
        left = [step for step in self._plan if step > self._done]
        if left:
            rank_zero_warn(
                f"training ended at step {trainer.global_step}, before the schedule did (step {max(left)}): "
                f"sparsity is {self.masks.sparsity:.4f}, not what was asked for"
            )

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if self._upkeep:
            self._upkeep.detach()

    def _update_if_due(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not self._plan:
            return
        due = [step for step in self._plan if self._done < step <= trainer.global_step]
        if due:
            self._done = max(due)
            began = time.perf_counter()
            masks = self._next_masks(trainer, module, self._plan[self._done])
            self.score_seconds += time.perf_counter() - began
            self.score_passes += 1
            self._change(trainer, module, agree(masks))

    def _next_masks(self, trainer: L.Trainer, module: L.LightningModule, sparsity: float) -> Masks:
        result = pruning(
            self.target(module),
            self.criterion,
            sparsity=sparsity,
            allocation=self.allocation,
            data=self._data(trainer, module),
            loss=self.loss,
            scope=self.scope(module),
            masks=self.masks,
            seed=self.seed,
            invert=self.invert,
            notes=self.notes,
            **self.arguments,
        )
        self._weights = result.weights
        return result.masks

    def _data(self, trainer: L.Trainer, module: L.LightningModule) -> list | None:
        if not looks_at_data(self.criterion, self.allocation):
            return None
        with isolate_rng():
            data = self.data() if callable(self.data) else self.data
            if data is None:
                data = first_batches(trainer.train_dataloader, self.batches)
            return on_device(data, module.device)

    def _change(self, trainer: L.Trainer, module: L.LightningModule, masks: Masks) -> None:
        """Make new masks the masks: told to other callbacks, applied to weights and optimiser state."""
        before, self.masks = self.masks, masks
        self._upkeep.change(masks)
        for callback in trainer.callbacks:
            if hasattr(callback, "on_masks_changed"):
                callback.on_masks_changed(trainer, module, self)
        weights, self._weights = rank_zeros(self._weights), {}
        Pruning(masks, weights).apply(self.target(module))
        self._upkeep.mask_optimizer_state(trainer.optimizers)
        self.history.append(
            {
                "step": trainer.global_step,
                "sparsity": masks.sparsity,
                "kept": masks.kept,
                "nested": masks.nested_in(before),
                "emptied": masks.emptied,
                "digest": masks.digest(),
            }
        )
        rank_zero_info(
            f"{self.method}: step {trainer.global_step}, sparsity {masks.sparsity:.4f}, {masks.kept} weights kept"
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "masks": None if self.masks is None else {name: mask.cpu() for name, mask in self.masks.items()},
            "method": self.method,
            "static": self.static,
            "done": self._done,
            "leaked": self.leaked,
            "history": [dict(entry) for entry in self.history],
            "score_seconds": self.score_seconds,
            "score_passes": self.score_passes,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["method"] != self.method or state["static"] != self.static:
            raise UsageError(
                f"the checkpoint was pruned by {state['method']!r}, this Pruner is {self.method!r}: "
                "resume with the same Pruner"
            )
        self.masks = None if state["masks"] is None else Masks(state["masks"])
        self._done, self.leaked = state["done"], state["leaked"]
        self.history = list(state["history"])
        self.score_seconds, self.score_passes = state.get("score_seconds", 0.0), state.get("score_passes", 0)


def first_batches(loader: Iterable, n: int) -> list:
    """The first ``n`` batches of a loader, which is left as it was, also in the middle of an epoch."""
    # A copy: persistent workers serve one iterator at a time, and that is the training's.
    loader, generators = copy(loader), []
    if isinstance(loader, DataLoader):
        loader._iterator = None
        owners = (loader, loader.sampler, loader.batch_sampler)
        generators = [g for g in (getattr(owner, "generator", None) for owner in owners) if g is not None]
    states = [generator.get_state() for generator in generators]
    try:
        return list(islice(iter(loader), n))
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def total_steps(trainer: L.Trainer, module: L.LightningModule) -> int:
    """Optimiser steps of the whole fit; a module that takes several a batch says how many (``total_steps``)."""
    steps = getattr(module, "total_steps", None) or trainer.estimated_stepping_batches
    if steps in (float("inf"), -1):
        raise UsageError("a pruning schedule needs an end: give the Trainer max_epochs or max_steps")
    return int(steps)
