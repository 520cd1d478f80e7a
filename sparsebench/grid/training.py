"""Training: one Train phase as one Lightning fit, resumable from its last epoch."""

from __future__ import annotations

import logging
import os
import signal
import time
import warnings
from contextlib import nullcontext
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.plugins.environments import TorchElasticEnvironment

from sparsebench.callbacks import Pruner, RandomState
from sparsebench.data.unbalanced import kept_positions
from sparsebench.grid.epoch_log import EpochLog
from sparsebench.grid.forgets import ForgettingEvents
from sparsebench.grid.global_batch_norm import GlobalBatchNorm
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.pruners import audit_pruner, make_pruner
from sparsebench.grid.state import State
from sparsebench.grid.trackers import stage_tracker
from sparsebench.grid.watch import (
    AtomicCheckpoints,
    Checkpoint,
    KeepOptimizer,
    LossCurve,
    ValidationCurve,
)
from sparsebench.models.classifier import Classifier
from sparsebench.models.distillation import Distillation
from sparsebench.models.several_steps import Chunks
from sparsebench.phases import Train
from sparsebench.protocol import derived_seed
from sparsebench.ranks import from_leader, rank, world
from sparsebench.recipe import epochs_of

CHECKPOINT = "checkpoint.ckpt"
"""In a stage's folder, of a training whose stage is not stored yet."""
STEPS_AT_ONCE = 16
"""Optimiser steps of a Lightning step, on one device in 32 bits."""


class Callbacks(NamedTuple):
    """What takes part in a training, in the order in which Lightning calls it; None = not in this one."""

    forgets: ForgettingEvents | None
    pruner: Pruner | None
    curve: LossCurve
    log: EpochLog | None
    validation: ValidationCurve | None
    random: RandomState
    optimizer: KeepOptimizer
    checkpoint: Checkpoint


def train(
    state: State,
    phase: Train,
    data,
    checkpoint: Path,
    hardware: Hardware,
    distillation: Distillation | None = None,
) -> None:
    """Carry out a training: the network, masks and report of the state change."""
    recipe, seen = state.task.recipe, seen_in(phase, data)
    seen.seed = derived_seed(state.seed, "order", state.trainings)
    seen.first_epoch = 0
    per_epoch = seen.steps_per_epoch
    whole = epochs_of(recipe.epochs, phase.epochs)
    behind, end = epochs_of(whole, state.start, least=0), epochs_of(whole, phase.until)
    module = Classifier(
        state.net,
        recipe,
        first_step=behind * per_epoch,
        schedule_steps=whole * per_epoch,
        constant_rate=phase.rate,
        several=world() == 1 and recipe.precision == "32-true",
        total_steps=(end - behind) * per_epoch,
        distillation=distillation,
    )
    callbacks = callbacks_of(state, phase, data, seen, checkpoint, hardware)
    # Dropout on one rank must not repeat that on another.
    torch.manual_seed(derived_seed(state.seed, "training", state.trainings, *([rank()] if rank() else [])))
    began = time.perf_counter()
    with nullcontext() if distillation is None else distillation.following(state.net):
        fit(module, seen, end - behind, list(filter(None, callbacks)), checkpoint, hardware)
    state.report["seconds"] += time.perf_counter() - began
    state.report["steps"] += (end - behind) * per_epoch
    state.report["epochs"] += end - behind
    state.report["images"] += (end - behind) * per_epoch * min(recipe.global_batch, seen.epoch_images)
    take_over(state, phase, callbacks)
    state.net = module.net.to(hardware.device)
    state.trainings += 1
    state.start = 0.0


def callbacks_of(state: State, phase: Train, data, seen, checkpoint: Path, hardware: Hardware) -> Callbacks:
    """The callbacks of a training on the images ``seen``; criteria score on all of the ``data``."""
    every, pruner, curve = state.task.recipe.validate_every, make_pruner(state, phase, data), LossCurve()
    return Callbacks(
        forgets=ForgettingEvents(seen) if phase.forgets else None,
        pruner=pruner,
        curve=curve,
        log=EpochLog(stage_tracker(state.stage, hardware), curve, pruner) if hardware.loggers else None,
        validation=ValidationCurve(data.val_dataloader(), every) if every else None,
        random=RandomState(),
        optimizer=KeepOptimizer(state.optimizer),
        checkpoint=Checkpoint(checkpoint, hardware.checkpoint_seconds),
    )


def take_over(state: State, phase: Train, callbacks: Callbacks) -> None:
    """Put into the state what the callbacks of a training have seen and made."""
    losses = callbacks.curve.losses
    state.report["losses"] += [loss if isfinite(loss) else None for loss in losses]
    if callbacks.validation:
        state.report["val_curve"] = state.report.get("val_curve", []) + callbacks.validation.top1
    if not all(map(isfinite, losses)):
        state.flag("training loss not finite")
    if state.optimizer:
        state.note(6, callbacks.optimizer.restored, "optimiser began with the state recorded at the rewind point")
    if callbacks.pruner:
        audit_pruner(state, callbacks.pruner, phase)
        state.masks = callbacks.pruner.masks.to("cpu")
    if callbacks.forgets:
        state.scores = callbacks.forgets.count.scores()
    state.optimizer = callbacks.optimizer.end


def seen_in(phase: Train, data):
    """The data with the training images that a training is shown; criteria score on all of them."""
    if phase.unbalanced is None:
        return data
    name = data.name.partition(":")[0]  # of a folder's path no number may depend
    positions, labels = data.train_positions.numpy(), data.train_labels.numpy()
    kept = kept_positions(name, data.class_names, positions, labels, phase.unbalanced)
    return data.restricted(torch.from_numpy(kept))


def fit(module: Classifier, data, epochs: int, callbacks: list, checkpoint: Path, hardware: Hardware) -> None:
    """Run Lightning, from the checkpoint if a killed run left one."""
    several, loader = not module.automatic_optimization, data.train_dataloader()
    with quiet():
        trainer = L.Trainer(
            max_epochs=epochs,
            accelerator=hardware.accelerator,
            **together(hardware),
            precision=module.recipe.precision,
            gradient_clip_val=None if several else module.recipe.clip,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
            # Of some operations on a GPU there is no deterministic form.
            deterministic=True if hardware.accelerator == "cpu" else "warn",
        )
        # Lightning trains in the mode it finds: batch norm left in evaluation mode would not learn.
        module.train()
        resume = str(checkpoint) if from_leader(lambda: readable(checkpoint, several)) else None
        on_interrupt = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(
                module,
                train_dataloaders=Chunks(loader, STEPS_AT_ONCE) if several else loader,
                ckpt_path=resume,
                weights_only=True if resume else None,
            )
        except SystemExit as stop:
            # Lightning turns Ctrl-C into exit code 1 and switches it off; the grid wants to know.
            if isinstance(stop.__context__, KeyboardInterrupt):
                signal.signal(signal.SIGINT, on_interrupt)
                raise KeyboardInterrupt from None
            raise


def together(hardware: Hardware) -> dict[str, Any]:
    """How Lightning trains on the ranks of this job: they are started already, and batch norm sees the global batch."""
    if world() == 1:
        return {"devices": 1, "plugins": [AtomicCheckpoints()]}
    return {
        "devices": hardware.devices,
        "num_nodes": hardware.nodes,
        "strategy": "ddp",
        "plugins": [AtomicCheckpoints(), TorchElasticEnvironment(), GlobalBatchNorm()],
        "use_distributed_sampler": False,
    }


def readable(checkpoint: Path, several: bool) -> bool:
    """Whether there is a checkpoint to go on from; a damaged one is renamed and the training starts again.

    So it does if it was saved with another way of stepping, on another number of devices: steps are counted apart.
    """
    if not checkpoint.exists():
        return False
    try:
        loops = torch.load(checkpoint, map_location="cpu", weights_only=True)["loops"]["fit_loop"]
        return several == (loops["epoch_loop.manual_optimization.optim_step_progress"]["total"]["completed"] > 0)
    except Exception as error:
        aside = checkpoint.with_suffix(".damaged")
        os.replace(checkpoint, aside)
        print(
            f"checkpoint {checkpoint} is damaged ({type(error).__name__}); set aside as {aside}, training starts again"
        )
        return False


class quiet:
    """Lightning's notes about devices and loggers, kept off a progress display."""

    def __enter__(self) -> None:
        self._caught = warnings.catch_warnings()
        self._caught.__enter__()
        warnings.filterwarnings("ignore", module="lightning")
        self._loggers = [
            logging.getLogger(n)
            for n in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
        ]
        self._levels = [logger.level for logger in self._loggers]
        for logger in self._loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *error) -> None:
        self._caught.__exit__(*error)
        for logger, level in zip(self._loggers, self._levels, strict=True):
            logger.setLevel(level)
