"""``sparsebench show CELL``"""

from __future__ import annotations

import json
from pathlib import Path

from sparsebench.errors import UsageError
from sparsebench.record import Record


def command(arguments) -> int:
    record = Record.load(find(arguments.cell, arguments.store, arguments.results))
    if arguments.json:
        print(json.dumps(record.data, indent=1))
        return 0
    _print(record.data)
    return 0


def find(cell: str, store: str, results: str) -> Path:
    """The record whose id begins so; the store's own first.

    Raises:
        UsageError: none, or more than one.
    """
    found = {p.stem: p for root in (Path(results), Path(store) / "records") for p in root.rglob(f"{cell}*.json")}
    if not found:
        raise UsageError(f"no record {cell!r} below {store} or {results}; ids are the file names of records there")
    if len(found) > 1:
        raise UsageError(f"cell id {cell!r} fits {len(found)} records: {', '.join(sorted(found)[:5])}; give more digits")
    return next(iter(found.values()))


def _print(data: dict) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    cell = data["cell"]
    console.print(f"[bold]{cell['task']}  {cell['method']}  sparsity {cell['sparsity']:g}  seed {cell['seed']}[/]  ({data['cell_id']})")
    console.print(data["status"] + (f": {data['error']}" if data["error"] else "") + ("  collapsed: " + ", ".join(data["flags"]) if data["collapsed"] else ""))
    for title in ("metrics", "sparsity", "flops", "cost"):
        table = Table(title=title, title_justify="left", show_header=False, box=None)
        for key, value in data.get(title, {}).items():
            if not isinstance(value, dict):
                table.add_row(key, f"{value:.6g}" if isinstance(value, float) else str(value))
        console.print(table)
    table = Table("rule", "name", "", "detail", title="audit", title_justify="left", box=None)
    for rule in data["audit"]:
        table.add_row(str(rule["rule"]), rule["name"], "[green]pass[/]" if rule["passed"] else "[red]FAIL[/]", rule["detail"])
    console.print(table)
    where = data["provenance"]
    console.print(f"made by: {where.get('command')}  at {where.get('created')}, commit {where.get('commit')}{' (changed)' if where.get('dirty') else ''}")
