"""``sparsebench list methods|tasks|models|datasets|boards``: read from syntax trees, nothing is imported."""

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
        print("\nwritten as criterion(args)/allocation@regime(args)+modifier(args), such as magnitude/erk@imp(rate=0.5)+shuffle")
    return 0


def _methods() -> Iterator[dict]:
    from sparsebench.allocation import allocation
    from sparsebench.registry import criterion, modifier, regime

    for part, registry in (("criteria", criterion), ("allocations", allocation), ("regimes", regime), ("modifiers", modifier)):
        yield from _entries(part, registry)


def _models() -> Iterator[dict]:
    from sparsebench.registry import network

    yield from _entries("networks", network)
    yield {"part": "by name", "name": "torchvision:NAME", "summary": "any classification network of torchvision", "arguments": {}}
    yield {"part": "by name", "name": "timm:NAME", "summary": "any network of timm, if it is installed", "arguments": {}}


def _datasets() -> Iterator[dict]:
    from sparsebench.registry import dataset

    yield from _entries("data sets", dataset)
    yield {"part": "by path", "name": "imagefolder:PATH", "summary": "a folder with train/ and test/ or val/ of class folders", "arguments": {}}


def _tasks() -> Iterator[dict]:
    from sparsebench.tasks import TASKS

    for task in TASKS.values():
        r = task.recipe
        summary = f"{task.network} on {task.dataset}: {r.epochs} epochs, {r.optimizer} {r.rate:g}, {r.schedule}, batch {r.global_batch}"
        yield {"part": "tasks", "name": task.name, "summary": summary, "arguments": {}}


def _boards() -> Iterator[dict]:
    from sparsebench.grid import board

    for name in board.names():
        found = board.load(name)
        yield {"part": "boards", "name": name, "summary": f"v{found.version}, {len(found.cells)} cells: {found.title}", "arguments": {}}


def _entries(part: str, registry) -> Iterator[dict]:
    for name in registry.names():
        entry = registry.entry(name)
        yield {"part": part, "name": name, "summary": entry.summary, "arguments": entry.params}
