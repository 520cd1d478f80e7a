"""``sparsebench show CELL|METHOD``"""

from __future__ import annotations

import json
import re
from pathlib import Path

from sparsebench.errors import UsageError
from sparsebench.fingerprint import plain
from sparsebench.record import Record


def command(arguments) -> int:
    if _is_method(arguments.cell):
        return _show_method(arguments.cell, arguments.json)
    record = Record.load(find(arguments.cell, arguments.store, arguments.results))
    if arguments.json:
        print(json.dumps(record.data, indent=1))
        return 0
    _print(record.data)
    return 0


def _is_method(text: str) -> bool:
    """Whether a text begins as a method does; ids of cells are hexadecimal, names of methods are words."""
    from sparsebench.registry import criterion, regime

    first = re.split(r"[^A-Za-z_0-9]", text.strip(), maxsplit=1)[0]
    return bool(first) and (first in criterion.entries or first in regime.entries or not text.isalnum())


def _show_method(text: str, as_json: bool) -> int:
    """The fingerprint of a method."""
    from sparsebench.methods import parse

    method = parse(text)
    said = {"method": method.name, **method.fingerprint()}
    if as_json:
        print(json.dumps(said, indent=1))
        return 0
    from rich.console import Console

    Console().print(_numbers("", {key: plain(value) for key, value in said.items()}))
    return 0


def find(cell: str, store: str, results: str) -> Path:
    """The record whose id begins so; the store's own first.

    Raises:
        UsageError: none, or more than one.
    """
    if not cell.isalnum():
        raise UsageError(f"cell id {cell!r} is not one: ids are the file names of records, 16 letters and digits")
    found = {p.stem: p for root in (Path(results), Path(store) / "records") for p in root.rglob(f"{cell}*.json")}
    if not found:
        raise UsageError(
            f"no record {cell!r} below {store} or {results}; ids are the file names of records there "
            f"(of a regime, a modifier or an allocation: sparsebench card {cell})"
        )
    if len(found) > 1:
        some = ", ".join(sorted(found)[:5])
        raise UsageError(f"cell id {cell!r} fits {len(found)} records: {some}; give more digits")
    return next(iter(found.values()))


def _print(data: dict) -> None:
    from rich.console import Console

    console = Console()
    cell, where = data["cell"], data["provenance"]
    name = f"{cell['task']}  {cell['method']}  sparsity {cell['sparsity']:g}  seed {cell['seed']}"
    console.print(f"[bold]{name}[/]  ({data['cell_id']})")
    console.print(data["status"] + (f": {data['error']}" if data["error"] else ""))
    if data["collapsed"]:
        console.print("collapsed: " + ", ".join(data["flags"]))
    for title in ("metrics", "sparsity", "flops", "cost"):
        console.print(_numbers(title, data.get(title, {})))
    if "diet" in data:
        console.print(_numbers("training images kept", _diet(data["settings"]["task"]["diet"], data["diet"])))
    console.print(_numbers("fingerprint", {key: plain(v) for key, v in data.get("fingerprint", {}).items()}))
    console.print(_audit(data["audit"]))
    changed = " (changed)" if where.get("dirty") else ""
    console.print(f"made by: {where.get('command')}  at {where.get('created')}, commit {where.get('commit')}{changed}")


def _diet(asked: dict, found: dict) -> dict:
    """Which part of the training images a network saw, and how it was chosen."""
    part = f"{found['kept']} of {found['of']}, {found['epoch_images']} an epoch"
    chosen = {key: value for key, value in asked.items() if key not in ("of", "keep") and value is not None}
    if each := found["stability"]:
        chosen["rank correlation of one network with all"] = sum(each) / len(each)
    return {"images": part, "of each class": found["per_class"], **chosen, "epochs of scoring": found["epochs"]}


def _numbers(title: str, values: dict):
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=False, box=None)
    for key, value in values.items():
        if not isinstance(value, dict):
            table.add_row(key, f"{value:.6g}" if isinstance(value, float) else str(value))
    return table


def _audit(rules: list[dict]):
    from rich.table import Table

    table = Table("rule", "name", "", "detail", title="audit", title_justify="left", box=None)
    for rule in rules:
        verdict = "[green]pass[/]" if rule["passed"] else "[red]FAIL[/]"
        table.add_row(str(rule["rule"]), rule["name"], verdict, rule["detail"])
    return table
