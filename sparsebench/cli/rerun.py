"""``sparsebench rerun RECORD``: compute a cell anew from its record alone and compare."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sparsebench.agreement import Tolerance, circumstances, compared, differences, same_machine
from sparsebench.cli.accelerator import choose_accelerator, count_gpus
from sparsebench.cli.show import find
from sparsebench.errors import UsageError
from sparsebench.files import write_atomic
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context
from sparsebench.grid.rerun import cell_of, recompute
from sparsebench.methods import register
from sparsebench.provenance import code_version
from sparsebench.record import Record

MARK = "rerun.json"
"""What a folder of ``--keep`` begins with: the code and hardware that everything in it was computed with."""
HERE = ("local", "inline")
"""Launchers that see a temporary folder of this machine."""
SHOWN = 12
"""Differences that are printed; ``--json`` has all."""


def command(arguments) -> int:
    path = locate(arguments.record, arguments.store, arguments.results)
    recorded = Record.load(path).data
    files = tuple(arguments.methods or ())
    for file in files:
        register(file)
    cell = cell_of(recorded)
    hardware = hardware_like(recorded["provenance"], arguments)
    if arguments.launcher not in HERE:
        raise UsageError(f"--launcher {arguments.launcher!r}: a rerun is for this machine, with {' or '.join(HERE)}")
    with store(arguments.keep, hardware) as folder:
        context = Context(str(folder), hardware, "sparsebench " + shlex.join(sys.argv[1:]), files)
        recomputed = dict(_recompute(cell, context, arguments).data)
    # A cell is the same on all boards.
    recomputed |= {key: recorded[key] for key in ("board", "board_version")}
    return tell(path, recorded, recomputed, arguments.json)


def locate(text: str, store: str, results: str) -> Path:
    """A record's file, by path or by the beginning of its id.

    Raises:
        UsageError: there is none, or more than one.
    """
    if Path(text).is_file():
        return Path(text)
    if text.endswith(".json") or "/" in text or os.sep in text:
        raise UsageError(f"{text} is not a file; a record's path or the beginning of its cell id is wanted")
    return find(text, store, results)


def hardware_like(provenance: dict[str, Any], arguments) -> Hardware:
    """The threads and devices a record was computed with, as far as this machine has them; options go first.

    The record of a failed cell does not tell; it is computed as ``run`` would.

    Raises:
        UsageError: an accelerator that is not there, or no threads.
    """
    was = provenance.get("accelerator", "auto")
    accelerator = choose_accelerator(arguments.accelerator or ("auto" if was == "gpu" else was))
    threads = provenance.get("threads", 1) if arguments.threads is None else arguments.threads
    if threads < 1:
        raise UsageError(f"--threads {threads}: at least 1 is needed")
    world = provenance.get("world_size", 1)
    most = count_gpus() if accelerator == "gpu" else max(2, os.cpu_count() or 1)
    return Hardware(
        accelerator,
        # A divisor, so that the global batch can still be shared evenly.
        devices=next(n for n in range(min(world, most), 0, -1) if world % n == 0),
        threads=threads,
        data_root=arguments.data,
        download=arguments.download,
    )


@contextmanager
def store(keep: str | None, hardware: Hardware) -> Iterator[Path]:
    """An empty store that is deleted afterwards, or one that stays and in which a killed rerun goes on.

    Raises:
        UsageError: the folder to keep holds what no rerun has computed, or one with other code or hardware.
    """
    if keep is None:
        with TemporaryDirectory(prefix="sparsebench-rerun-") as folder:
            yield Path(folder)
        return
    mark = {"commit": code_version()[0], "accelerator": hardware.accelerator, "devices": hardware.devices}
    mark["threads"] = hardware.threads
    folder = Path(keep)
    if folder.is_dir() and any(folder.iterdir()):
        _check_mark(folder, mark)
    else:
        try:
            write_atomic(folder / MARK, json.dumps(mark))
        except OSError as error:
            raise UsageError(f"--keep {folder}: cannot be written ({error.strerror})") from None
    yield folder


def _check_mark(folder: Path, mark: dict[str, Any]) -> None:
    """Stages that are there are not computed again, so they must be a rerun's, made as this one would make them."""
    try:
        found = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UsageError(
            f"--keep {folder}: not empty and not of a rerun; what is there would be taken instead of "
            "computed anew. Give a new folder"
        ) from None
    if found != mark:
        now = ", ".join(f"{key} {found.get(key)} -> {value}" for key, value in mark.items() if found.get(key) != value)
        raise UsageError(f"--keep {folder}: what is there was computed otherwise ({now}). Give a new folder")


def _recompute(cell, context: Context, arguments) -> Record:
    from sparsebench.cli.display import Display

    try:
        with Display(f"rerun of {cell.label}") as display:
            return recompute(cell, context, arguments.workers, display.update, arguments.launcher)
    except KeyboardInterrupt:
        if arguments.keep:
            raise
        print("sparsebench: stopped; nothing was kept (with --keep FOLDER the next rerun goes on)", file=sys.stderr)
        raise SystemExit(130) from None


def tell(path: Path, recorded: dict, recomputed: dict, as_json: bool) -> int:
    """Print the comparison; 0 if the records agree, 1 if not."""
    same = same_machine(recorded, recomputed)
    exact = differences(recorded, recomputed)
    found = exact if same else differences(recorded, recomputed, Tolerance())
    if as_json:
        said = {
            "cell_id": recorded["cell_id"],
            "circumstances": circumstances(recorded, recomputed),
            "bar": "bit for bit" if same else "tolerance",
            "bit_equal": not exact,
            "agrees": not found,
            "differences": found,
        }
        print(json.dumps(said, indent=1))
        return 1 if found else 0
    cell = recorded["cell"]
    name = f"{cell['task']}  {cell['method']}  sparsity {cell['sparsity']:g}  seed {cell['seed']}"
    print(f"{name}  ({recorded['cell_id']})\nrecord: {path}")
    for line in circumstances(recorded, recomputed):
        print(f"  {line}")
    print("bar: " + ("bit for bit (same machine and versions)" if same else "within tolerance (docs/determinism.md)"))
    _table(recorded, recomputed)
    for line in found[:SHOWN]:
        print(f"  {line}")
    if len(found) > SHOWN:
        print(f"  and {len(found) - SHOWN} more (all of them: --json)")
    print(verdict(len(found), len(exact), len(compared(recorded, recomputed)[0])))
    return 1 if found else 0


def verdict(found: int, exact: int, fields: int) -> str:
    """The last line.

    >>> verdict(0, 0, 90), verdict(0, 7, 90)
    ('equal: 90 fields, bit for bit', 'agrees: 83 of 90 fields bit for bit, the others within tolerance')
    >>> verdict(2, 7, 90)
    'DIFFERS: 2 of 90 fields'
    """
    if found:
        return f"DIFFERS: {found} of {fields} fields"
    if exact:
        return f"agrees: {fields - exact} of {fields} fields bit for bit, the others within tolerance"
    return f"equal: {fields} fields, bit for bit"


def _table(recorded: dict, recomputed: dict) -> None:
    from rich.console import Console
    from rich.table import Table

    if "failed" in (recorded["status"], recomputed["status"]):
        return
    table = Table("", "recorded", "recomputed", "difference", box=None)
    for name, x, y in headline(recorded, recomputed):
        numbers = x is not None and y is not None
        table.add_row(name, _short(x), _short(y), f"{y - x:+.3g}" if numbers and x != y else "")
    Console().print(table)


def headline(recorded: dict, recomputed: dict) -> Iterator[tuple[str, Any, Any]]:
    """The main numbers of two records."""
    for part, names in {
        "metrics": ("top1", "nll", "ece", "worst_class", "val_top1", "dead_static", "dead_dynamic_alive", "sde_s1"),
        "sparsity": ("kept",),
        "flops": ("speedup",),
        "cost": ("epochs",),
    }.items():
        yield from ((name, recorded[part].get(name), recomputed[part].get(name)) for name in names)
    yield "last loss", *((record["curves"]["losses"] or [None])[-1] for record in (recorded, recomputed))


def _short(value: Any) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
