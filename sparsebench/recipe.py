"""Recipe: how a network is trained. A frozen value; part of every cell's name."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

from sparsebench.errors import UsageError

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "step", "constant")
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
COMPILE = ("", "default", "reduce-overhead")


@dataclass(frozen=True)
class Recipe:
    """Epochs, optimiser, learning-rate schedule, augmentation and global batch of one task."""

    epochs: int
    rate: float
    """Peak learning rate."""
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    """On weights of two or more dimensions; biases and norm parameters are not decayed."""
    schedule: str = "cosine"
    warmup: float = 0.0
    """Share of training over which the rate rises linearly."""
    milestones: tuple[float, ...] = ()
    """Shares of training at which a step schedule multiplies the rate by ``gamma``."""
    gamma: float = 0.1
    global_batch: int = 128
    augment: str = "default"
    label_smoothing: float = 0.0
    clip: float | None = None
    """Largest gradient norm, taken over kept weights."""
    mask_every: int = 100
    """Optimiser steps between mask updates of gradual and dynamic methods."""
    precision: str = "32-true"
    channels_last: bool = False
    compile: str = ""
    """Mode of ``torch.compile`` for the forward and backward pass of a training step; "" = eager. On a GPU
    "reduce-overhead" records CUDA graphs. A training that follows a teacher stays eager."""
    validate_every: int = 0
    """Epochs after which validation accuracy is recorded; 0 = only where every record has it."""

    def __post_init__(self) -> None:
        choices_of = {
            "optimizer": OPTIMIZERS, "schedule": SCHEDULES, "precision": PRECISIONS, "compile": COMPILE,
        }  # fmt: skip
        for name, known in choices_of.items():
            if getattr(self, name) not in known:
                choices = ", ".join(choice or "'' (eager)" for choice in known)
                raise UsageError(f"recipe: {name}={getattr(self, name)!r} is not one of {choices}")
        for name in ("epochs", "global_batch", "mask_every", "rate"):
            if not isinstance(getattr(self, name), int | float):
                raise UsageError(
                    f"recipe: {name}={getattr(self, name)!r} is not a number (in YAML write 1.0e+3, not 1e3)"
                )
            if getattr(self, name) <= 0:
                raise UsageError(f"recipe: {name}={getattr(self, name)!r} must be positive")
        every = self.validate_every
        if isinstance(every, bool) or not isinstance(every, int) or every < 0:
            raise UsageError(f"recipe: validate_every={every!r} must be a whole number of epochs, 0 for never")
        if not 0 <= self.warmup < 1:
            raise UsageError(f"recipe: warmup={self.warmup!r} is a share of training and must be in [0, 1)")

    def factor(self, progress: float) -> float:
        """Learning rate relative to the peak, at a share of training in [0, 1].

        >>> r = Recipe(epochs=10, rate=0.1, warmup=0.5)
        >>> [round(r.factor(t), 3) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
        """
        if progress < self.warmup:
            return progress / self.warmup
        if self.schedule == "step":
            return self.gamma ** sum(progress >= milestone for milestone in self.milestones)
        if self.schedule == "cosine":
            return 0.5 * (1 + cos(pi * min(1.0, (progress - self.warmup) / (1 - self.warmup))))
        return 1.0


def epochs_of(epochs: int, share: float, least: int = 1) -> int:
    """A share of some epochs in whole ones, at least one of them unless nothing is asked for.

    Lightning resumes exactly at the end of an epoch, and only in fits that are counted in epochs.

    >>> epochs_of(160, 0.25), epochs_of(12, 0.01), epochs_of(12, 0.0, least=0)
    (40, 1, 0)
    """
    return max(1 if share else least, round(epochs * share))
