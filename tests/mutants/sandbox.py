"""Sandbox: a copy of the package in the layout of a wheel, with its tests, in which a mutant may do no harm."""

from __future__ import annotations

import os
import shutil
from importlib.util import cache_from_source
from pathlib import Path

from tests.mutants.mutant import Mutant, installed_path

ROOT = Path(__file__).parents[2]
LEAVE_OUT = shutil.ignore_patterns("__pycache__", "mutants")


def wheel_layout(folder: Path) -> Path:
    """Copy the package, its tests and its settings; ``callbacks`` and ``benchmarks`` become subpackages."""
    folder.mkdir(parents=True)
    shutil.copytree(ROOT / "sparsebench", folder / "sparsebench", ignore=LEAVE_OUT)
    for part in ("callbacks", "benchmarks"):
        shutil.copytree(ROOT / part, folder / "sparsebench" / part, ignore=LEAVE_OUT)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=LEAVE_OUT)
    shutil.copy2(ROOT / "pyproject.toml", folder)
    return folder


def mutated(clean: Path, mutant: Mutant, folder: Path) -> Path:
    """A copy of the clean copy, byte code included, with the mistake in it; all other files are shared."""
    shutil.copytree(clean, folder, copy_function=_link)
    target = folder / installed_path(mutant.file)
    source = mutant.apply(target.read_text(encoding="utf-8"))
    compile(source, mutant.file, "exec")
    # Byte code is told from old byte code by seconds and size: a quick edit of equal length would not run.
    Path(cache_from_source(str(target))).unlink(missing_ok=True)
    target.unlink()
    target.write_text(source, encoding="utf-8")
    return folder


def _link(source: str, target: str) -> None:
    """A hard link: many times faster than a copy, which it is where there are no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
