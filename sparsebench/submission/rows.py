"""Rows: the table of a submission, worked out from its records. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sparsebench.record import Record
from sparsebench.stats import mean_interval

COLUMNS = ("method", "task", "sparsity", "seeds", "top1", "top1_half", "drop", "collapsed", "epochs", "speedup")


def rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """One row a (method, task, sparsity), the dense row first.

    ``top1`` is the mean over seeds, ``top1_half`` the half width of its 95 % Student interval (None for one seed),
    ``drop`` the mean of dense - top1 by seed, ``collapsed`` how many seeds are; epochs and speed-up are means.
    """
    groups: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    dense: dict[tuple[str, int], float] = {}
    for data in (record.data for record in records if record.ok):
        cell = data["cell"]
        groups.setdefault((cell["method"], cell["task"], cell["sparsity"]), []).append(data)
        if cell["method"] == "dense":
            dense[cell["task"], cell["seed"]] = data["metrics"]["top1"]
    order = sorted(groups, key=lambda key: (key[0] != "dense", key))
    return [dict(zip(COLUMNS, _row(key, groups[key], dense), strict=True)) for key in order]


def _row(
    key: tuple[str, str, float], found: list[dict[str, Any]], dense: dict[tuple[str, int], float]
) -> Iterator[Any]:
    found = sorted(found, key=lambda data: data["cell"]["seed"])
    top1 = [data["metrics"]["top1"] for data in found]
    drops = [
        dense[key[1], d["cell"]["seed"]] - d["metrics"]["top1"] for d in found if (key[1], d["cell"]["seed"]) in dense
    ]
    yield from key
    yield len(found)
    yield mean(top1)
    yield mean_interval(top1).half
    yield mean(drops)
    yield sum(data["collapsed"] for data in found)
    yield mean([data["cost"]["epochs"] for data in found])
    yield mean([data["flops"]["speedup"] for data in found])


def mean(values: list[float]) -> float | None:
    """None of nothing.

    >>> mean([1.0, 2.0]), mean([])
    (1.5, None)
    """
    return sum(values) / len(values) if values else None


def csv(table: list[dict[str, Any]]) -> str:
    """The rows as comma-separated values, six significant digits.

    >>> csv([{"method": "m(a=1,b=2)", "top1": 0.123456789, "half": None}])
    'method,top1,half\\n"m(a=1,b=2)",0.123457,\\n'
    """
    lines = [",".join(table[0])] if table else []
    lines += [",".join(map(_field, row.values())) for row in table]
    return "".join(f"{line}\n" for line in lines)


def _field(value: Any) -> str:
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return '"' + text.replace('"', '""') + '"' if any(char in text for char in ',"\n') else text


def markdown(table: list[dict[str, Any]]) -> str:
    """The rows as a pipe table, in percent."""
    lines = ["| method | task | sparsity | top-1 | drop | collapsed | epochs | seeds |"]
    lines.append("| :--- | :--- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in table:
        half = "" if row["top1_half"] is None else f" ± {100 * row['top1_half']:.1f}"
        cells = [
            f"`{row['method']}`".replace("|", "\\|"),
            row["task"],
            f"{100 * row['sparsity']:.6g} %",
            f"{100 * row['top1']:.1f}{half}",
            "–" if row["drop"] is None else f"{100 * row['drop']:.1f}",
            f"{row['collapsed']}/{row['seeds']}",
            f"{row['epochs']:g}",
            str(row["seeds"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
