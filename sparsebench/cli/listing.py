"""``sparsebench list methods|tasks|models|datasets|...``: read from syntax trees, nothing is imported."""

from __future__ import annotations

import json
from collections.abc import Iterator

from sparsebench.cli.parser import KINDS
from sparsebench.errors import unknown


def command(arguments) -> int:
    if arguments.kind not in KINDS:
        raise unknown("kind of thing to list", arguments.kind, KINDS, "sparsebench list --help")
    rows = list(globals()[f"_{arguments.kind}"]())
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return 0
    width = max(len(row["name"]) for row in rows)
    part = None
    for row in rows:
        if row["part"] != part:
            part = row["part"]
            print(f"{part}:")
        takes = ", ".join(f"{k}={v!r}" for k, v in row["arguments"].items())
        print(f"  {row['name']:<{width}}  {row['summary']}" + (f"  [{takes}]" if takes else ""))
    if arguments.kind == "methods":
        print("\nwritten as criterion(args)/allocation@regime(args)+modifier(args),")
        print("such as magnitude/erk@imp(rate=0.5)+shuffle")
    return 0


def _methods() -> Iterator[dict]:
    from sparsebench.allocation import allocation
    from sparsebench.registry import criterion, modifier, regime

    yield from _entries("criteria", criterion)
    yield from _entries("allocations", allocation)
    yield _row("allocations", "like:NAME", "The layer counts that another criterion's global ranking would give.")
    yield _row("patterns", "N:M", "N of every M consecutive inputs, such as 2:4; one sparsity, 1 - N/M.")
    yield _row(
        "patterns", "blockRxC", "Whole blocks, such as block4x4; behind a rule (uniform/block4x4) in each tensor."
    )
    yield from _entries("regimes", regime)
    yield from _entries("modifiers", modifier)


def _models() -> Iterator[dict]:
    from sparsebench.registry import network

    yield from _entries("networks", network)
    yield _row("by name", "torchvision:NAME", "any classification network of torchvision")
    yield _row("by name", "timm:NAME", "any network of timm, if it is installed")


def _measures() -> Iterator[dict]:
    from sparsebench.registry import measure

    yield from _entries("measures", measure)


def _diets() -> Iterator[dict]:
    from sparsebench.registry import example_score

    yield from _entries("scores of training images", example_score)


def _datasets() -> Iterator[dict]:
    from sparsebench.registry import dataset

    yield from _entries("data sets", dataset)
    yield _row("by path", "imagefolder:PATH", "a folder with train/ and test/ or val/ of class folders")


def _tasks() -> Iterator[dict]:
    from sparsebench.tasks import TASKS

    for task in TASKS.values():
        r = task.recipe
        how = f"{r.epochs} epochs, {r.optimizer} {r.rate:g}, {r.schedule}, batch {r.global_batch}"
        yield _row("tasks", task.name, f"{task.network} on {task.dataset}: {how}")


def _boards() -> Iterator[dict]:
    from sparsebench.grid import board

    for name in board.names():
        found = board.load(name)
        yield _row("boards", name, f"v{found.version}, {len(found.cells)} cells: {found.title}")


def _entries(part: str, registry) -> Iterator[dict]:
    for name in registry.names():
        entry = registry.entry(name)
        yield _row(part, name, entry.summary, entry.params)


def _row(part: str, name: str, summary: str, arguments: dict | None = None) -> dict:
    return {"part": part, "name": name, "summary": summary, "arguments": arguments or {}}
