"""Training: one Train phase as one Lightning fit, resumable from its last epoch."""

from __future__ import annotations

import logging
import os
import time
import warnings
from math import isfinite
from pathlib import Path

import lightning as L
import torch

from sparsebench.callbacks import DynamicSparsity, Pruner, RandomState
from sparsebench.callbacks.schedules import Cubic
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.state import State
from sparsebench.models.classifier import Classifier
from sparsebench.phases import Dynamic, Gradual, Train
from sparsebench.protocol import derived_seed
from sparsebench.snapshot import Snapshot


class Checkpoint(L.Callback):
    """Saves the training at the end of an epoch, at most every so many seconds; atomically."""

    def __init__(self, path: Path, every_seconds: float):
        self.path, self.every = path, every_seconds
        self._last = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if time.monotonic() - self._last < self.every:
            return
        temporary = self.path.with_suffix(".tmp")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            os.replace(temporary, self.path)
        self._last = time.monotonic()


class LossCurve(L.Callback):
    """Mean training loss of every epoch, summed on the device and read once an epoch."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self._sum: torch.Tensor | None = None
        self._batches = 0

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs, *_) -> None:
        self._sum = outputs["loss"].clone() if self._sum is None else self._sum.add_(outputs["loss"])
        self._batches += 1

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._sum is not None:
            self.losses.append(float(self._sum) / self._batches)
        self._sum, self._batches = None, 0

    def state_dict(self) -> dict:
        return {"losses": list(self.losses)}

    def load_state_dict(self, state: dict) -> None:
        self.losses = list(state["losses"])


class KeepOptimizer(L.Callback):
    """Brings optimiser state in at the start and takes it out at the end."""

    def __init__(self, state: dict | None):
        self.state, self.end = state, None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.state and trainer.global_step == 0:
            for optimizer, state in zip(trainer.optimizers, self.state["optimizers"], strict=True):
                fresh = optimizer.state_dict()
                optimizer.load_state_dict({"state": state["state"], "param_groups": fresh["param_groups"]})

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.end = Snapshot.take(torch.nn.Module(), trainer.optimizers).tree


def train(state: State, phase: Train, data, checkpoint: Path, hardware: Hardware) -> None:
    """Carry out a training: the network, masks and report of the state change."""
    recipe = state.task.recipe
    data.seed = derived_seed(state.seed, "order", state.trainings)
    data.first_epoch = 0
    per_epoch = data.steps_per_epoch
    whole = epochs_of(recipe.epochs, phase.epochs)
    behind, end = epochs_of(whole, state.start, least=0), epochs_of(whole, phase.until)
    module = Classifier(
        state.net,
        recipe,
        first_step=behind * per_epoch,
        schedule_steps=whole * per_epoch,
        constant_rate=phase.rate,
    )
    pruner = make_pruner(state, phase, data)
    curve, optimizer = LossCurve(), KeepOptimizer(state.optimizer)
    callbacks = [curve, RandomState(), optimizer, Checkpoint(checkpoint, hardware.checkpoint_seconds)]
    if pruner:
        callbacks.insert(0, pruner)
    torch.manual_seed(derived_seed(state.seed, "training", state.trainings))
    began = time.perf_counter()
    fit(module, data, end - behind, callbacks, checkpoint, hardware)
    report = state.report
    report["seconds"] += time.perf_counter() - began
    report["steps"] += (end - behind) * per_epoch
    report["epochs"] += end - behind
    report["images"] += (end - behind) * per_epoch * min(recipe.global_batch, data.train_size)
    report["losses"] += [loss if isfinite(loss) else None for loss in curve.losses]
    if not all(map(isfinite, curve.losses)):
        state.flag("training loss not finite")
    if pruner:
        audit_pruner(state, pruner, phase)
        state.masks = pruner.masks.to("cpu")
    state.net = module.net.to(hardware.device)
    state.optimizer = optimizer.end
    state.trainings += 1
    state.start = 0.0
    checkpoint.unlink(missing_ok=True)


def epochs_of(epochs: int, share: float, least: int = 1) -> int:
    """A share of some epochs in whole ones, at least one of them unless nothing is asked for.

    Lightning resumes exactly at the end of an epoch, and only in fits that are counted in epochs.

    >>> epochs_of(160, 0.25), epochs_of(12, 0.01), epochs_of(12, 0.0, least=0)
    (40, 1, 0)
    """
    return max(1 if share else least, round(epochs * share))


def fit(module: Classifier, data, epochs: int, callbacks: list, checkpoint: Path, hardware: Hardware) -> None:
    """Run Lightning, from the checkpoint if a killed run left one."""
    with quiet():
        trainer = L.Trainer(
            max_epochs=epochs,
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            precision=module.recipe.precision,
            gradient_clip_val=module.recipe.clip,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
            deterministic=hardware.accelerator == "cpu",
        )
        # Lightning trains in the mode it finds: batch norm left in evaluation mode would not learn.
        module.train()
        resume = str(checkpoint) if readable(checkpoint) else None
        trainer.fit(module, train_dataloaders=data.train_dataloader(), ckpt_path=resume, weights_only=True if resume else None)


def readable(checkpoint: Path) -> bool:
    """Whether there is a checkpoint to go on from; a damaged one is renamed and the training starts again."""
    if not checkpoint.exists():
        return False
    try:
        torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        aside = checkpoint.with_suffix(".damaged")
        os.replace(checkpoint, aside)
        print(f"checkpoint {checkpoint} is damaged ({type(error).__name__}); set aside as {aside}, training starts again")
        return False
    return True


def make_pruner(state: State, phase: Train, data) -> Pruner | None:
    """The callback that a training needs: fixed masks, a gradual or a dynamic schedule, or none."""
    every = state.task.recipe.mask_every
    seed = derived_seed(state.seed, "masks")
    match phase.pruner:
        case Gradual(scorer, sparsity, begin, end, interval):
            schedule = Cubic(begin, end, interval or every)
            return Pruner(
                f"{scorer.criterion}/{scorer.allocation}", sparsity, schedule=schedule, on="net", seed=seed,
                data=lambda: scoring_data(scorer.criterion, data, seed), **scorer.arguments,
            )  # fmt: skip
        case Dynamic(rule, sparsity, allocation, interval, fraction, end):
            return DynamicSparsity(
                rule, sparsity, allocation=allocation, every=interval or every, fraction=fraction, end=end, on="net", seed=seed
            )
    return Pruner(masks=state.masks, on="net") if state.masks is not None else None


def scoring_data(criterion_name: str, data, seed: int) -> list:
    """What a criterion asks for of the training split, un-augmented."""
    from sparsebench.registry import criterion

    traits = criterion.entry(criterion_name).traits
    if "per_class" in traits:
        return data.per_class(traits["per_class"], seed)
    return data.probe(traits["examples"]) if "examples" in traits else []


def audit_pruner(state: State, pruner: Pruner, phase: Train) -> None:
    state.note(2, pruner.leaked == 0, f"{pruner.leaked} pruned entries of weights or optimiser state were not 0")
    kept = [entry["kept"] for entry in pruner.history]
    if isinstance(phase.pruner, Gradual):
        state.note(3, all(e["nested"] for e in pruner.history), f"{len(kept)} nested updates")
    if isinstance(phase.pruner, Dynamic):
        state.note(3, len(set(kept)) == 1, f"{len(kept) - 1} updates at {kept[0]} kept weights")
    for entry in pruner.history:
        for name in entry["emptied"]:
            state.flag(f"layer {name} emptied")


class quiet:  # noqa: N801
    """Lightning's notes about devices and loggers, kept off a progress display."""

    def __enter__(self) -> None:
        self._caught = warnings.catch_warnings()
        self._caught.__enter__()
        warnings.filterwarnings("ignore", module="lightning")
        self._loggers = [logging.getLogger(n) for n in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")]
        self._levels = [logger.level for logger in self._loggers]
        for logger in self._loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *error) -> None:
        self._caught.__exit__(*error)
        for logger, level in zip(self._loggers, self._levels, strict=True):
            logger.setLevel(level)
