"""Hardware: where and how stages run; none of it changes a cell's name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Hardware:
    accelerator: str = "cpu"
    devices: int = 1
    """Devices of one node that train a cell together."""
    nodes: int = 1
    """Nodes that train a cell together, each with so many devices."""
    per_device: int = 1
    """Jobs that share a GPU."""
    threads: int = 1
    """CPU threads of a process; fixed, since sums in another order round otherwise."""
    checkpoint_seconds: float = 60.0
    """Least time between two checkpoints of a training."""
    data_root: str | None = None
    download: bool = False
    loggers: tuple[str, ...] = ()
    """What follows the run beside its records: names from ``trackers.PACKAGES``."""
    logs: str = ""
    """Folder of the loggers."""

    @property
    def device(self) -> str:
        """Where networks and small data sets live."""
        return "cuda" if self.accelerator == "gpu" else "cpu"

    @property
    def world(self) -> int:
        """Processes that train a cell together, one a device."""
        return self.devices * self.nodes


def visible_gpus() -> list[str]:
    """Names of this machine's NVIDIA GPUs as ``CUDA_VISIBLE_DEVICES`` takes them, without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    return [str(i) for i, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*"))]


def gpus_of(slot: int, hardware: Hardware, gpus: list[str]) -> list[str]:
    """The GPUs that the crew in a slot has to itself, or shares with ``per_device - 1`` others.

    >>> [gpus_of(slot, Hardware("gpu", devices=2), ["0", "1", "2", "3"]) for slot in range(2)]
    [['0', '1'], ['2', '3']]
    >>> [gpus_of(slot, Hardware("gpu", per_device=2), ["0", "1"]) for slot in range(4)]
    [['0'], ['0'], ['1'], ['1']]
    """
    groups = max(1, len(gpus) // hardware.devices)
    first = slot // hardware.per_device % groups * hardware.devices
    return gpus[first : first + hardware.devices]
