"""Synthetic records: plausible accuracies of a few methods, from a seeded generator."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import numpy as np
import pytest

from sparsebench.record import Record, record_path

TASKS = ["digits-mlp", "digits-resnet8", "digits-vgg8", "digits-vit"]
METHODS = [
    "magnitude@imp", "magnitude@finetune", "lamp@imp", "taylor@imp", "magnitude/erk@gmp", "rigl", "set",
    "wanda@imp+ap", "snip@init", "synflow@init", "random@init", "magnitude@init", "random@imp",
]  # fmt: skip
LOSS = dict(zip(METHODS, [1, 1.6, 0.9, 1.0, 1.3, 1.5, 2.2, 1.1, 4, 3.5, 8, 6, 5], strict=True))
SPARSITIES = [0.5, 0.75, 0.875, 0.9375, 0.96875, 0.984375]


def make_board(tasks=TASKS, methods=METHODS, sparsities=SPARSITIES, seeds=(0, 1, 2)) -> dict:
    return {
        "name": "quick", "version": 1, "title": "Quick board: pruning on digits", "tasks": list(tasks),
        "methods": list(methods), "sparsities": list(sparsities), "seeds": list(seeds),
        "command": "sparsebench run quick",
    }  # fmt: skip


def make_record(task: str, method: str, sparsity: float, seed: int, top1: float | None, **changes) -> Record:
    """A record of schema 1; ``top1=None`` makes a failed cell; ``changes`` replace top-level fields."""
    cell = {"task": task, "method": method, "sparsity": sparsity, "seed": seed}
    ok, relu = top1 is not None, "vit" not in task
    dead = sparsity**4 * LOSS.get(method, 1.0) / 10 if relu else None
    metrics = {
        "top1": top1, "top5": None, "nll": 4 * (1 - top1), "ece": (1 - top1) / 3, "worst_class": 0.9 * top1,
        "cev": None, "sde": None, "cev_s1": 0.01 + sparsity / 50, "sde_s1": 0.1 * sparsity,
        "dead_static": dead, "dead_dynamic": dead and min(1.0, 1.5 * dead + 0.3),
        "dead_dynamic_alive": dead and min(1.0, 0.8 * dead + 0.3), "dead_permanent": dead,
        "neg_preact": None if relu else 0.5, "val_top1_before": 0.5, "val_top1": top1,
    } if ok else {}  # fmt: skip
    data = {
        "schema": 1, "board": "quick", "board_version": 1, "protocol": 1,
        "cell_id": sha256(repr(cell).encode()).hexdigest()[:16], "cell": cell, "settings": {"epochs": 12},
        "status": "ok" if ok else "failed", "error": None if ok else "RuntimeError: out of memory",
        "collapsed": ok and top1 < 0.12, "flags": [], "metrics": metrics,
        "per_class": {key: [40] * 10 for key in ("n", "tp", "fp", "fn")},
        "sparsity": {"asked": sparsity, "achieved": sparsity - 1e-5, "kept": 1, "prunable": 16, "total": 20,
                     "layers": {f"layers.{i}.weight": {"kept": 100, "size": 1600} for i in range(10)}},
        "flops": {"dense": 1000, "sparse": round(1000 * (1 - sparsity)), "speedup": 1 / (1 - sparsity)},
        "cost": {"epochs": 12.0 if method == "dense" else 24.0, "own_epochs": 12.0, "train_flops": 1e9,
                 "seconds": 2.0, "shared_seconds": 0.7, "peak_memory_mb": 500.0},
        "provenance": {"commit": "0123456789abcdef", "dirty": False, "versions": {"torch": "2.9.0"},
                       "hardware": "2 x CPU", "precision": "32", "world_size": 1, "data_digest": "d",
                       "command": "sparsebench run quick", "created": "2026-01-02T03:04:05Z"},
        "fingerprint": {"loss": 0.1}, "parents": ["stage"],
        "audit": [{"rule": 1, "name": "exact counts", "passed": True, "detail": ""}],
    }  # fmt: skip
    return Record({**data, **changes})


def make_records(board: dict, seed: int = 0) -> list[Record]:
    """All cells of a board: accuracy falls with compression, faster for some methods, down to chance."""
    generator, records = np.random.default_rng(seed), []
    for place, task in enumerate(board["tasks"]):
        for run in board["seeds"]:
            dense = 0.982 - 0.006 * place + generator.normal(0, 0.002)
            records.append(make_record(task, "dense", 0.0, run, dense))
            for method in board["methods"]:
                for sparsity in board["sparsities"]:
                    drop = 0.0015 * LOSS.get(method, 1.0) * (1 / (1 - sparsity)) ** 0.9 * (1 + place / 2)
                    top1 = dense - drop + generator.normal(0, 0.0025 + drop / 15)
                    records.append(make_record(task, method, sparsity, run, float(np.clip(top1, 0.1, 0.999))))
    return records


@pytest.fixture
def board() -> dict:
    return make_board()


@pytest.fixture
def small_board() -> dict:
    return make_board(TASKS[:2], ["magnitude@imp", "lamp@imp", "random@imp"], [0.5, 0.9])


@pytest.fixture
def build() -> Callable[..., Record]:
    return make_record


@pytest.fixture
def build_all() -> Callable[..., list[Record]]:
    return make_records


@pytest.fixture
def results(tmp_path) -> Callable:
    """Writes records as a run would and returns the board's folder."""

    def write(records: list[Record]):
        for record in records:
            cell = record.data["cell"]
            record.save(record_path(tmp_path, "quick", cell["method"], record.data["cell_id"]))
        return tmp_path / "quick"

    return write
