"""Which accelerator a command uses, told without importing torch."""

from __future__ import annotations

from sparsebench.errors import UsageError
from sparsebench.grid.hardware import visible_gpus


def choose_accelerator(asked: str) -> str:
    """``cpu`` or ``gpu``; ``auto`` takes a GPU where there is one.

    Raises:
        UsageError: an accelerator that is not there.
    """
    gpus = count_gpus()
    if asked not in ("auto", "cpu", "gpu"):
        raise UsageError(f"--accelerator {asked!r} is not one of auto, cpu, gpu")
    if asked == "gpu" and not gpus:
        raise UsageError("--accelerator gpu: no NVIDIA GPU is visible on this machine; use --accelerator cpu")
    return "gpu" if gpus and asked != "cpu" else "cpu"


def count_gpus() -> int:
    return len(visible_gpus())
