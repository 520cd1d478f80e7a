"""Hardware: where and how stages run; none of it changes a cell's name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hardware:
    accelerator: str = "cpu"
    devices: int = 1
    threads: int = 1
    """CPU threads a worker; fixed, since sums in another order round otherwise."""
    checkpoint_seconds: float = 60.0
    """Least time between two checkpoints of a training."""
    data_root: str | None = None
    download: bool = False

    @property
    def device(self) -> str:
        """Where networks and small data sets live."""
        return "cuda" if self.accelerator == "gpu" else "cpu"
