"""A small store and results folder, and ways to tamper with them so that one rule of verify must notice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import sparsebench.grid.stages as stages
from sparsebench.grid.run import publish
from sparsebench.masks import Masks
from sparsebench.models import build
from sparsebench.record import Record
from sparsebench.snapshot import state_digest
from sparsebench.verify import Report, verify
from tests.grid.conftest import run_inline, tiny_board

FIRST = "fc1.weight"
METHODS = [
    "magnitude@imp", "rigl", "str", "l1@finetune", "wanda/2:4@oneshot", "small_dense", "magnitude@imp(rewind=0.34)",
    "snip@init+shuffle",
]  # fmt: skip


class World:
    """A store and a results folder that may be tampered with."""

    def __init__(self, folder: Path):
        self.folder, self.store, self.results = folder, folder / "store", folder / "results"

    def record(self, method: str, sparsity: float = 0.5, published: bool = False) -> Path:
        """The file of a record."""
        for path in (self.results if published else self.store / "records").rglob("*.json"):
            cell = json.loads(path.read_text())["cell"]
            if (cell["method"], cell["sparsity"]) == (method, 0.0 if method == "dense" else sparsity):
                return path
        raise LookupError(method)

    def stage(self, method: str, sparsity: float = 0.5, index: int = -1) -> Path:
        """The folder of a stage of a cell's chain."""
        return self.store / "stages" / json.loads(self.record(method, sparsity).read_text())["parents"][index]

    def verify(self, **options: Any) -> set[str]:
        return failed(verify(self.store, **options))

    def verify_results(self, **options: Any) -> set[str]:
        return failed(verify(self.results, **options))


def failed(report: Report) -> set[str]:
    return {check.rule for check in report.failures}


@lru_cache(maxsize=1)
def compute(folder: Path) -> World:
    """Cells of every kind, computed once a session, from code that is said to be clean."""
    world, made_by = World(folder / "made-for-verify"), stages.provenance
    board = tiny_board(*METHODS, sparsities=(0.5, 0.75))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "provenance", lambda *a, **k: made_by(*a, **k) | {"commit": "c" * 40, "dirty": False})
        result = run_inline(board, world.store)
    assert not result.failed
    publish(board, result, world.results)
    return world


@pytest.fixture
def made(tmp_path_factory) -> World:
    """Not to be changed."""
    return compute(tmp_path_factory.getbasetemp())


@pytest.fixture
def world(made, tmp_path) -> World:
    """A copy to tamper with."""
    shutil.copytree(made.folder, tmp_path / "copy")
    return World(tmp_path / "copy")


def edit(path: Path, change: Callable[[dict], Any], sign: bool = True) -> None:
    """Change a record and, so that it loads, its digest."""
    data = json.loads(path.read_text())
    change(data)
    if sign:
        Record(data).save(path)
    else:
        path.write_text(json.dumps(data))


def edit_stage(folder: Path, change: Callable[[dict], Any]) -> None:
    """Change ``stage.json``, which has no digest of its own."""
    report = json.loads((folder / "stage.json").read_text())
    change(report)
    (folder / "stage.json").write_text(json.dumps(report))


def sign(folder: Path) -> None:
    """Write the digests of what lies in a stage's folder now into its ``stage.json``."""

    def change(report: dict) -> None:
        report["files"] = {file: sha256((folder / file).read_bytes()).hexdigest() for file in report["files"]}

    edit_stage(folder, change)


def edit_masks(folder: Path, change: Callable[[dict], Any], kind: str = "masks") -> None:
    masks = {name: mask.clone() for name, mask in Masks.load(folder / f"{kind}.safetensors").items()}
    change(masks)
    Masks(masks).save(folder / f"{kind}.safetensors")
    sign(folder)


def edit_weights(folder: Path, change: Callable[[dict], Any]) -> None:
    """Change weights with all digests that depend on them."""
    weights = {name: weight.clone() for name, weight in load_file(folder / "weights.safetensors").items()}
    change(weights)
    save_file(weights, folder / "weights.safetensors")
    sign(folder)
    net = build("mlp", (1, 8, 8), 10, hidden=[16, 12])
    if {n: t.shape for n, t in net.state_dict().items()} == {n: t.shape for n, t in weights.items()}:
        net.load_state_dict(weights)
        edit_stage(folder, lambda report: report.update(final_digest=state_digest(net)))


def put(*keys: Any) -> Callable[[dict], None]:
    """``put("a", "b", 1)`` sets ``data["a"]["b"] = 1``."""

    def change(data: dict) -> None:
        for key in keys[:-2]:
            data = data[key]
        data[keys[-2]] = keys[-1]

    return change
