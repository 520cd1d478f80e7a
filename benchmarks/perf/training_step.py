"""A training step with masks, dead-neuron tracking and logging, against a bare PyTorch loop.

    python benchmarks/perf/training_step.py [--rows mlp resnet20] [--rounds N]

Rival: the same network without masks, fused optimiser, learning-rate schedule and loader, in a plain loop that keeps
and logs nothing. Ours is what a user writes: ``Classifier`` in a Lightning Trainer, ``Pruner`` with fixed masks (90 %
removed), ``DeadNeurons``, and the mean loss of every epoch in TensorBoard's files as a board's trainings leave it there
(``EpochLog``). Whole fits are timed.

Bars: MLP on digits (9 steps an epoch) <= 1.25x, ResNet-20 on CIFAR-sized data <= 1.03x.

Tracking: on CIFAR-10 a probe of 2048 images is run once for 45,000 images of training. ResNet-20 runs a probe of this
share after every epoch. Digits has 1197 training images, all of them the probe: run every 10 epochs it costs 2.2 times
that share (that row is held to the bar), run after every epoch 22 times (shown beside it).

Measured on two cores of an AMD EPYC virtual machine with nothing beside it, one thread, torch 2.15, lightning 2.6.6;
medians of the ratios within rounds (quartiles). At other hours the machine is up to 1.5 times slower, see NOTES.md:

    MLP (--rows mlp --rounds 15)    Lightning 1.05 (1.00 to 1.08), + masks 1.11 (1.06 to 1.13), + loss 1.13 (1.10 to
        1.16), + dead neurons every 10th epoch 1.18 (1.14 to 1.23), every epoch 1.61; the loss by self.log to a CSV file
        1.36; ordinary Lightning without masks 1.57; a second run 1.16 (1.11 to 1.22)
    ResNet-20 (--rows resnet20)     1.012 (0.947 to 1.080), 1.032 (0.989 to 1.073) and 1.026 (0.989 to 1.066)
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial

import lightning as L
import torch
from lightning.pytorch.loggers import CSVLogger
from side_by_side import report, side_by_side
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparsebench.callbacks import DeadNeurons, Pruner
from sparsebench.callbacks.probe import in_small_batches
from sparsebench.data.augment import by_name
from sparsebench.data.loader import Normalise, TrainLoader
from sparsebench.data.module import DataModule
from sparsebench.data.source import Resident
from sparsebench.functional import pruning
from sparsebench.grid.epoch_log import EpochLog
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.trackers import Tracker
from sparsebench.grid.training import STEPS_AT_ONCE
from sparsebench.grid.watch import LossCurve
from sparsebench.masks import Masks
from sparsebench.models import build
from sparsebench.models.classifier import Classifier, make_optimizer
from sparsebench.models.several_steps import Chunks
from sparsebench.recipe import Recipe
from sparsebench.tasks import task

SPARSITY = 0.9
PROBE_SHARE = 2048 / 45_000


@dataclass
class Setting:
    """A network at its start, masks for it, and what it is trained on."""

    net: nn.Module
    recipe: Recipe
    loader: Callable[[], TrainLoader]
    probe: list
    masks: Masks


def digits_mlp() -> Setting:
    data, recipe = DataModule("digits", 128, augment="none"), task("digits-mlp").recipe
    data.prepare_data()
    torch.manual_seed(0)
    net = build("mlp", data.input_shape, data.num_classes)
    return Setting(net, recipe, data.train_dataloader, data.probe(), magnitude(net))


def cifar_sized_resnet20(images: int = 8 * 128, batch: int = 128, width: int = 16) -> Setting:
    """Random pixels in the shape of CIFAR-10, augmented like it."""
    recipe = replace(task("cifar10-resnet20").recipe, global_batch=batch)
    torch.manual_seed(0)
    source = Resident(torch.randint(256, (images, 3, 32, 32), dtype=torch.uint8), torch.randint(10, (images,)))
    positions = torch.arange(images)
    normalise = Normalise(*source.statistics(positions))
    place = (0, 1, torch.device("cpu"))
    loader = partial(TrainLoader, source, positions, normalise, by_name("crop_flip"), batch, 0, lambda: place)
    net = build("resnet20", (3, 32, 32), 10, width=width)
    probe = normalise(source.images[: round(images * PROBE_SHARE)])
    return Setting(net, recipe, loader, list(in_small_batches([probe])), magnitude(net))


def magnitude(net: nn.Module) -> Masks:
    return pruning(net, "magnitude", sparsity=SPARSITY).masks


def bare(
    setting: Setting, epochs: int, masks: Masks | None = None, losses: list[list[Tensor]] | None = None
) -> nn.Module:
    """The plain loop; masked, and with the losses of every epoch kept, only where a test compares it with ours."""
    net, loader, recipe = deepcopy(setting.net), setting.loader(), setting.recipe
    optimizer = make_optimizer(net, recipe)
    steps = epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: recipe.factor(step / steps))
    if masks:
        masks.apply(net)
        masked = [(p, masks[name]) for name, p in net.named_parameters() if name in masks]
    net.train()
    for epoch in range(epochs):
        loader.set_epoch(epoch)
        if losses is not None:
            losses.append([])
        for x, y in loader:
            optimizer.zero_grad()
            loss = cross_entropy(net(x), y)
            loss.backward()
            if masks:
                for parameter, mask in masked:
                    parameter.grad[~mask] = 0.0
            optimizer.step()
            schedule.step()
            if losses is not None:
                losses[-1].append(loss.detach())
    return net


class LogLoss(LossCurve):
    """The mean loss of every epoch by the module's own ``log``."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        pl_module.log("loss", self.losses[-1])


def epoch_log(folder: str) -> list[L.Callback]:
    """How the grid logs: figures of epochs, held back and written together."""
    hardware = Hardware(loggers=("tensorboard",), logs=folder)
    curve = LossCurve()
    return [curve, EpochLog(Tracker("stage", "training step", "benchmark", {}, hardware), curve, None)]


def lightning(
    setting: Setting,
    epochs: int,
    *,
    masks: Masks | None = None,
    log: str = "",
    track_every: int = 0,
    several: bool = True,
    net: nn.Module | None = None,
    callbacks: tuple = (),
) -> tuple[nn.Module, list[L.Callback]]:
    """The same training as a Lightning fit, with what is asked for; of ``net`` itself if there is one.

    ``log``: "grid", "self.log" (to a CSV file) or nothing.
    """
    loader = setting.loader()
    steps = epochs * len(loader)
    net = deepcopy(setting.net) if net is None else net
    module = Classifier(net, setting.recipe, several=several, total_steps=steps, schedule_steps=steps)
    callbacks = [*callbacks]
    if masks is not None:
        callbacks.append(Pruner(masks=masks, on="net"))
    if log == "self.log":
        callbacks.append(LogLoss())
    if track_every:
        callbacks.append(DeadNeurons(setting.probe, every_n_epochs=track_every, on="net"))
    with tempfile.TemporaryDirectory() as folder:
        if log == "grid":
            callbacks += epoch_log(folder)
        trainer = L.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=CSVLogger(folder) if log == "self.log" else False,
            callbacks=callbacks,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, train_dataloaders=Chunks(loader, STEPS_AT_ONCE) if several else loader)
        for callback in callbacks:
            if isinstance(callback, EpochLog):
                callback.tracker.close()
    return net, callbacks


def quiet() -> None:
    """One thread, and no word from Lightning."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)


def load() -> str:
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, one thread"


def mlp(rounds: int, epochs: int) -> None:
    setting = digits_mlp()
    ours = partial(lightning, setting, epochs)
    masked = partial(ours, masks=setting.masks)
    rivals = {
        "bare loop": partial(bare, setting, epochs),
        "Lightning, 16 steps at once": ours,
        "+ masks": masked,
        "+ loss logged every epoch": partial(masked, log="grid"),
        "+ dead neurons every 10th": partial(masked, log="grid", track_every=10),
        "(the same, self.log to CSV)": partial(masked, log="self.log", track_every=10),
        "(dead neurons every epoch)": partial(masked, log="grid", track_every=1),
        "(ordinary Lightning, no masks)": partial(ours, several=False),
    }
    timings = side_by_side(rivals, rounds)
    steps = epochs * len(setting.loader())
    report(f"MLP on digits, one step; {load()}", timings, "<= 1.25x with dead neurons every 10th", 1e3 / steps)


def resnet20(rounds: int, epochs: int) -> None:
    setting = cifar_sized_resnet20()
    ours = partial(lightning, setting, epochs, masks=setting.masks, log="grid", track_every=1)
    timings = side_by_side({"bare loop": partial(bare, setting, epochs), "sparsebench": ours}, rounds)
    steps = epochs * len(setting.loader())
    report(f"ResNet-20 on 32x32, batch 128, one step; {load()}", timings, "<= 1.03x", 1e3 / steps)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", nargs="+", choices=("mlp", "resnet20"), default=["mlp", "resnet20"])
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--mlp-epochs", type=int, default=200, help="of 9 steps")
    options.add_argument("--resnet-epochs", type=int, default=1, help="of 8 steps")
    chosen = options.parse_args()
    quiet()
    if "mlp" in chosen.rows:
        mlp(chosen.rounds, chosen.mlp_epochs)
    if "resnet20" in chosen.rows:
        resnet20(chosen.rounds, chosen.resnet_epochs)


if __name__ == "__main__":
    main()
