"""A small recipe, and records for it whose numbers are chosen by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sparsebench.papers import Claim, Curves, Evidence, Finding, Paper, Point, Recipe, published_table
from sparsebench.record import Record, record_path
from tests.report.conftest import make_record

SPARSITIES = (0.5, 0.75)


def falls(e: Evidence) -> Finding:
    rho = e.spearman("top1", task="digits-mlp", method="magnitude")
    return Finding([Point("digits-mlp", rho, holds=rho.value <= -0.9, refuted=rho.value >= 0)])


def beats(e: Evidence) -> Finding:
    points = []
    for s in e.levels("digits-mlp", "magnitude"):
        found = e.paired("top1", "magnitude", "random@init", task="digits-mlp", sparsity=s).scaled(100)
        points.append(Point(f"{100 * s:g} %", found, holds=found.above(0), refuted=found.below(0), unit="points"))
    return Finding(points)


RECIPE = Recipe(
    paper=Paper("A toy", "N. N.", 2020, "arXiv:2000.00001", "Magnitude is better than chance."),
    version=1,
    smoke={
        "title": "two methods on digits", "tasks": ["digits-mlp"], "methods": ["magnitude@finetune", "random@init"],
        "sparsities": list(SPARSITIES), "seeds": [0, 1, 2], "notes": "Smaller in every way.",
    },
    full={
        "title": "the paper's own", "tasks": ["cifar10-vgg16"], "methods": ["magnitude@finetune"], "sparsities": [0.9],
        "seeds": [0],
    },
    claims=[
        Claim("falls", "Accuracy falls with sparsity", falls, rule="rho is at most -0.9", source="figure 1"),
        Claim("beats", "Magnitude beats random", beats, rule="the paired interval is above 0", source="abstract",
              published="2 to 3 points"),
        *published_table(
            "table", "Accuracies on CIFAR-10",
            {("cifar10-vgg16", "magnitude@finetune", 0.9): 93.1, ("cifar10-vgg16", "dense", 0.0): None},
            source="table 1", setting="160 epochs", runs=3,
        ),
    ],
    figures=[Curves("accuracy", "top1", ["digits-mlp"], ["magnitude@finetune", "random@init"], "top-1 (%)")],
    name="toy",
)  # fmt: skip
TOP1 = {
    ("dense", 0.0): (0.97, 0.98, 0.97),
    ("magnitude@finetune", 0.5): (0.96, 0.97, 0.96),
    ("magnitude@finetune", 0.75): (0.93, 0.94, 0.94),
    ("random@init", 0.5): (0.93, 0.94, 0.94),
    ("random@init", 0.75): (0.90, 0.91, 0.90),
}


def records(change: Callable[[str, float, float], float] = lambda method, sparsity, top1: top1) -> list[Record]:
    """A record a cell of the smoke board, under the cells' own ids; ``change`` gives other accuracies."""
    made = []
    for cell in RECIPE.board("smoke").cells:
        top1 = change(cell.method.name, cell.sparsity, TOP1[cell.method.name, cell.sparsity][cell.seed])
        record = make_record("digits-mlp", cell.method.name, cell.sparsity, cell.seed, top1)
        made.append(Record({**record.data, "cell_id": cell.id, "board": "toy"}))
    return made


def evidence(**options) -> Evidence:
    return Evidence("smoke", RECIPE.board("smoke"), [dict(record.data) for record in records(**options)])


def saved(results: Path, **options) -> Path:
    """The records in ``results/toy``."""
    for record in records(**options):
        record.save(record_path(results, "toy", record.cell["method"], record.data["cell_id"]))
    return results / "toy"
