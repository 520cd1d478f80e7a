"""Provenance: which code, versions and hardware a number comes from."""

from __future__ import annotations

import platform
import subprocess
from datetime import datetime, timezone
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sparsebench.release import released

PACKAGES = ("sparsebench", "torch", "lightning", "torchvision", "torchmetrics", "numpy", "scipy", "safetensors")


def provenance(accelerator: str, **further: Any) -> dict[str, Any]:
    """Commit, versions, hardware and time, with what the caller adds."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {**_fixed(accelerator), "created": now, "accelerator": accelerator, **further}


@lru_cache
def _fixed(accelerator: str) -> dict[str, Any]:
    commit, dirty = code_version()
    return {
        "commit": commit,
        "dirty": dirty,
        **({} if commit else {"release": released()}),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
        "hardware": hardware(accelerator),
        "instructions": instructions(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def code_version() -> tuple[str | None, bool | None]:
    """Commit of the checkout this package runs from and whether it was changed; (None, None) outside one."""
    here = Path(__file__).resolve().parent
    commit = _git(here, "rev-parse", "HEAD")
    if commit is None or _git(here, "ls-files", "--error-unmatch", __file__) is None:
        return None, None
    ours = (":/sparsebench", ":/callbacks", ":/benchmarks", ":/setup.cfg")
    return commit, bool(_git(here, "status", "--porcelain", "--untracked-files=no", "--", *ours))


def hardware(accelerator: str) -> str:
    """The accelerator's or the processor's name."""
    if accelerator == "gpu":
        import torch

        return torch.cuda.get_device_name()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def instructions() -> str:
    """The processor's instruction set that torch uses: sums in another order round otherwise."""
    import torch

    return torch.backends.cpu.get_cpu_capability()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *command: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *command], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
