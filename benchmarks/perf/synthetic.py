"""Synthetic results of a whole board: records as full as real ones, and a store that looks finished.

    python benchmarks/perf/synthetic.py FOLDER SEEDS

writes FOLDER/board.yaml (ten_thousand.yaml with so many seeds, 2,000 cells each), FOLDER/results and FOLDER/store.
Accuracies are plausible and drawn from a seeded generator; everything else has the size it has in a real record:
every class of CIFAR-10 or CIFAR-100, one loss an epoch of every training, every prunable layer, eleven audit rules.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from sparsebench.grid import board as boards
from sparsebench.grid.cell import Cell
from sparsebench.grid.plan import Plan, plan
from sparsebench.phases import Train
from sparsebench.record import Record, record_path

LAYERS = {"mlp": 4, "resnet20": 22, "resnet18": 21, "vgg16": 14, "vit_tiny": 50}
"""Prunable tensors of a network."""
PROVENANCE = {
    "commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False, "python": "3.11.7",
    "versions": dict.fromkeys(("sparsebench", "torch", "lightning", "torchvision", "numpy", "scipy"), "1.2.3"),
    "hardware": "synthetic", "system": "Linux x86_64", "created": "2026-01-01T00:00:00+00:00",
    "precision": "32-true", "world_size": 1, "threads": 1, "accelerator": "gpu", "data_digest": "0" * 64,
    "command": "sparsebench run ten_thousand",
}  # fmt: skip


def main(folder: Path, seeds: int) -> None:
    content = yaml.safe_load(Path(__file__).with_name("ten_thousand.yaml").read_text(encoding="utf-8"))
    file = folder / "board.yaml"
    file.write_text(yaml.safe_dump(content | {"seeds": list(range(seeds))}), encoding="utf-8")
    board = boards.load(str(file))
    size = write_records(board.cells, board.name, folder / "results")
    whole = plan(board.cells)
    write_store(whole, folder / "store")
    print(f"{len(whole.cells)} cells, {len(whole.stages)} stages, {size / 2**20:.0f} MiB of records")


def write_records(cells: Iterable[Cell], board: str, results: Path) -> int:
    """Save a record of every cell; returns their size in bytes."""
    size, fingerprints = 0, {}
    for cell in cells:
        name = cell.method.name
        if name not in fingerprints:
            fingerprints[name] = cell.method.fingerprint()
        path = Record(record(cell, board, fingerprints[name])).save(record_path(results, board, name, cell.id))
        size += path.stat().st_size
    return size


def write_store(plan: Plan, store: Path) -> None:
    """Empty files where ``sparsebench status`` looks for finished stages and cells."""
    (store / "records").mkdir(parents=True)
    for name in plan.stages:
        (store / "stages" / name).mkdir(parents=True)
        (store / "stages" / name / "stage.json").touch()
    for name in plan.cells:
        (store / "records" / f"{name}.json").touch()


def record(cell: Cell, board: str, fingerprint: dict[str, Any]) -> dict[str, Any]:
    """The fields of ``grid/finish.py``, filled with made-up numbers."""
    draw = random.Random(cell.id)
    phases = cell.method.phases(cell.sparsity)
    epochs = round(sum(p.epochs for p in phases if isinstance(p, Train)) * cell.task.recipe.epochs)
    classes = 100 if "cifar100" in cell.task.name else 10
    top1 = (0.75 if classes == 100 else 0.94) * (1 - cell.sparsity**9 * draw.uniform(0.1, 0.3))
    size = 10**7 // LAYERS[cell.task.network]
    kept = round(size * (1 - cell.sparsity))
    wrong = [draw.randrange(1, 10) for _ in range(classes)]
    return {
        **cell.record_head(),
        "board": board, "board_version": 1, "status": "ok", "error": None, "collapsed": False, "flags": [],
        "metrics": {
            "top1": top1, "top5": (1 + top1) / 2, "nll": 4 * (1 - top1), "ece": draw.random() / 20,
            "worst_class": top1 / 2, "cev": None, "sde": None, "cev_s1": draw.random(), "sde_s1": draw.random(),
            "dead_static": draw.random() / 9, "dead_dynamic": draw.random() / 2,
            "dead_dynamic_alive": draw.random() / 2, "dead_permanent": draw.random() / 9, "neg_preact": None,
            "val_top1_before": draw.random(), "val_top1": top1,
        },
        "per_class": {
            "n": [10_000 // classes] * classes, "tp": [10_000 // classes - k for k in wrong], "fp": wrong, "fn": wrong,
        },
        "sparsity": {
            "asked": cell.sparsity, "achieved": 1 - kept / size, "kept": kept, "prunable": size, "total": size,
            "parameters": size,
            "layers": {
                f"layer{i // 4 + 1}.{i // 2 % 2}.conv{i % 2 + 1}.weight": {"kept": kept, "size": size}
                for i in range(LAYERS[cell.task.network])
            },
        },
        "flops": {"dense": 50 * size, "sparse": 50 * kept, "speedup": size / kept},
        "cost": {
            "epochs": float(epochs), "own_epochs": epochs / 2, "trainings": 2, "train_flops": 1.5e16 * epochs,
            "seconds": 9.0 * epochs * draw.random(), "shared_seconds": 3.0 * epochs * draw.random(),
            "score_seconds": draw.random(), "score_passes": 1, "peak_memory_mb": 2000 * draw.random(),
        },
        "curves": {"losses": [draw.random() * 4 / (1 + epoch % 160) for epoch in range(epochs)]},
        "provenance": PROVENANCE, "fingerprint": fingerprint, "recalibrated": 0,
        "audit": [
            {"rule": n, "name": "a name of some words", "passed": True, "detail": "a sentence of 12 words, as usual"}
            for n in range(1, 12)
        ],
        "parents": [cell.id],
    }  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
