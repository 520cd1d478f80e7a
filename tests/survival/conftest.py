"""A working folder of its own, and what real disks the machine lets a test have."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty working folder; ``$DIARY`` is where workers note what they do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIARY", str(tmp_path / "diary.txt"))
    return tmp_path


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def disk(folder) -> Iterator[Callable[[str], Path]]:
    """``disk("4m")``: a real file system of that size in the working folder; skipped where that is not permitted."""
    mounted = []

    def mount(size: str) -> Path:
        place = folder / "disk"
        place.mkdir()
        said = None
        if os.geteuid() == 0:
            said = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True, text=True
            )
        if said is None or said.returncode:
            pytest.skip(f"no disk can be mounted here ({said.stderr.strip() if said else 'not root'})")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def remount(place: Path, how: str) -> bool:
    """``ro`` or ``rw``; False while a file is open for writing."""
    return subprocess.run(["mount", "-o", f"remount,{how}", str(place)], capture_output=True).returncode == 0


def fill(place: Path) -> Path:
    """Write until nothing more fits."""
    ballast = place / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast
