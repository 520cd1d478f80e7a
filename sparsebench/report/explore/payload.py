"""Payload: what the page shows, as JSON. A *set* is a task and a seed: its networks saw the same images.

Angles are tenths of a degree, lengths and margins hundredths of a unit, planes fiftieths; null is not finite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from sparsebench.errors import UsageError
from sparsebench.record import Record
from sparsebench.report.explore import MEASURE
from sparsebench.report.explore.arrays import read, there, whole
from sparsebench.report.explore.models import layout
from sparsebench.report.explore.sprite import sprite
from sparsebench.report.html.payload import number

NUMBERS = 3_000_000
"""Numbers of single images that a page holds; a set of many networks shows fewer images."""
SHOWINGS = 6000
"""Corrupted showings of a set that are listed one by one; where there are more, those of the middle severity."""
MIDDLE = 3
MOST_CLASSES = 20
"""With more classes only the angle to the own class is shown."""
SCALARS = (
    "angle_mean", "angle_sd", "angle_gap", "length_mean", "margin_median", "margin_p05", "mca", "rel_robustness",
    "flips", "flip_auroc_margin", "flip_auroc_angle", "flip_auroc_length",
)  # fmt: skip


def payload(
    board: Mapping[str, Any], records: Sequence[Record], kept: Path, seeds: Sequence[int] | None, how: str
) -> dict[str, Any]:
    """Board, table of all networks, and the sets whose images are shown one by one."""
    finished = [r for r in records if r.ok and MEASURE in (r.data.get("measures") or {})]
    usable = [r for r in finished if there(kept, r.data["cell_id"])]
    groups = sets_of(usable, seeds)
    if not groups:
        raise missing(board, records, finished, usable, kept, seeds)
    room = NUMBERS // sum(map(len, groups))
    notes = []
    if len(usable) < len(records):
        notes.append(f"{len(records) - len(usable)} of {len(records)} networks failed or have no arrays: left out.")
    found = [one_set(group, kept, room, how) for group in groups]
    return {
        "schema": 1,
        "board": {key: board.get(key) for key in ("name", "version", "title", "notes", "command")},
        "notes": notes,
        "kinds": finished[0].data["measures"][MEASURE]["redundancy"]["kinds"],
        "table": table(finished),
        "sets": found,
    }


def missing(board, records, finished, usable, kept: Path, seeds: Sequence[int] | None) -> UsageError:
    """Why there is no page, and what to do."""
    run = board.get("command")
    if not records:
        return UsageError(f"nothing of {board['name']} is in the store {kept.parent}: run it first: {run}")
    if not finished:
        return UsageError(
            f"board {board['name']} was measured without geometry: add `measures: [{MEASURE}]` to it and run it again "
            f"({run}); nothing is trained twice"
        )
    if not usable:
        return UsageError(
            f"the arrays of {board['name']} are not in {kept}: they are kept in the store in which the networks were "
            f"measured; name it with --store, or set {kept.parent / 'records'} aside and run again: {run}"
        )
    asked = f"--seeds {' '.join(map(str, seeds))}: " if seeds else ""
    return UsageError(f"{asked}{board['name']} has no task and seed with arrays of a dense and a pruned network: {run}")


def sets_of(records: Sequence[Record], seeds: Sequence[int] | None) -> list[list[Record]]:
    """Records by task and seed, the dense one first; only sets with a dense network and another."""

    def key(record: Record) -> tuple[str, int]:
        return record.cell["task"], record.cell["seed"]

    order = {id(record): place for place, record in enumerate(records)}
    together = [list(group) for _, group in groupby(sorted(records, key=lambda r: (*key(r), order[id(r)])), key)]
    found = []
    for group in together:
        group.sort(key=lambda r: (r.cell["method"] != "dense", order[id(r)]))
        if len(group) > 1 and group[0].cell["method"] == "dense":
            found.append(group)
    tasks = dict.fromkeys(r.cell["task"] for r in records)
    if seeds is None:
        first = {task: next((g for g in found if g[0].cell["task"] == task), None) for task in tasks}
        return [group for group in first.values() if group]
    return [g for task in tasks for g in found if g[0].cell["task"] == task and g[0].cell["seed"] in seeds]


def table(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Means over the seeds of every arm: clean, corrupted, and under each kind (mean over severities)."""
    arms: dict[tuple, list[Record]] = {}
    for record in records:
        arms.setdefault((record.cell["task"], record.cell["method"], record.cell["sparsity"]), []).append(record)
    return [
        {
            "task": task,
            "method": method,
            "sparsity": sparsity,
            "seeds": len(group),
            "top1": number(float(np.mean([r.data["metrics"]["top1"] for r in group]))),
            "corrupted": number(float(np.mean([r.data["metrics"]["corrupted"] for r in group]))),
            "kinds": [number(v) for v in np.mean([of_kinds(r) for r in group], axis=0).tolist()],
        }
        for (task, method, sparsity), group in arms.items()
    ]


def of_kinds(record: Record) -> list[float]:
    """Accuracy under each kind, all severities together; NaN where nothing was shown."""
    shown = record.data["corruptions"]
    names = record.data["measures"][MEASURE]["redundancy"]["kinds"]
    found = []
    for name in names:
        pairs = [(a, n) for a, n in zip(shown["kinds"][name], shown["counts"][name], strict=True) if n]
        total = sum(n for _, n in pairs)
        found.append(sum(a * n for a, n in pairs) / total if total else float("nan"))
    return found


def one_set(group: Sequence[Record], kept: Path, room: int, how: str) -> dict[str, Any]:
    """A task and a seed: images, showings, networks, and how the networks lie to each other."""
    arrays = [read(kept, record.data["cell_id"]) for record in group]
    pairs = [(r, a) for r, a in zip(group, arrays, strict=True) if a is not None]
    dense = pairs[0][1]
    rows = dense["rows"]
    classes = dense["angles"].shape[1]
    per_image = (classes if classes <= MOST_CLASSES else 1) + 10
    if len(rows) * per_image > room:
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, max(20, room // per_image)).round().astype(int))]
    listed = np.isin(dense["shown_row"], rows)
    too_many = listed.sum() > SHOWINGS
    if too_many:
        listed &= dense["shown_severity"] == MIDDLE
    place = {row: at for at, row in enumerate(rows.tolist())}
    cell = group[0].cell
    return {
        "task": cell["task"],
        "seed": cell["seed"],
        "classes": classes,
        "images": len(dense["label"]),
        "listed": "middle" if too_many else "all",
        "rows": rows.tolist(),
        "label": dense["label"][rows].tolist(),
        "shown": {
            "row": [place[row] for row in dense["shown_row"][listed].tolist()],
            "kind": dense["shown_kind"][listed].tolist(),
            "severity": dense["shown_severity"][listed].tolist(),
        },
        **pictures(dense, rows, listed),
        "models": [one_model(record, a, rows, listed, classes) for record, a in pairs],
        "maps": maps([a for _, a in pairs], how),
    }


def one_model(
    record: Record, a: Mapping[str, np.ndarray], rows: np.ndarray, listed: np.ndarray, classes: int
) -> dict[str, Any]:
    """A network: numbers of its record, its images in the order of ``rows``, its listed showings."""
    data = record.data
    geometry = data["measures"][MEASURE]
    all_images = len(a["label"])
    shown = np.bincount(a["shown_row"], minlength=all_images)
    lost = np.bincount(a["shown_row"], a["shown_said"] != a["label"][a["shown_row"]], minlength=all_images)
    own = a["angles"][np.arange(all_images), a["label"]]
    with np.errstate(invalid="ignore"):
        by_kind = a["kind_right"] / np.where(a["kind_shown"] > 0, a["kind_shown"], np.nan)
    planes = {
        name: {
            "points": whole(a[name][rows], 0.02),
            "directions": whole(a[directions], 0.001),
            "share": [number(float(x)) for x in a[share]],
        }
        for name, directions, share in (
            ("plane", "directions", "plane_share"),
            ("own", "own_directions", "own_share"),
        )
        if name in a
    }
    return {
        "id": data["cell_id"],
        "method": data["cell"]["method"],
        "sparsity": data["cell"]["sparsity"],
        "collapsed": data["collapsed"],
        "top1": number(data["metrics"]["top1"]),
        "corrupted": number(data["metrics"]["corrupted"]),
        "kinds": [number(v) for v in of_kinds(record)],
        **{name: number(geometry.get(name)) for name in SCALARS},
        "by_class": geometry["classes"],
        "redundancy": {name: geometry["redundancy"][name] for name in ("margin", "loss")},
        "layers": geometry["layers"],
        "class_kinds": [[number(v) for v in row] for row in by_kind.tolist()],
        "said": a["said"][rows].tolist(),
        "angle": whole(own[rows], 0.1),
        "angles": whole(a["angles"][rows], 0.1) if classes <= MOST_CLASSES else None,
        "length": whole(a["length"][rows], 0.01),
        "margin": whole(a["margin"][rows], 0.01),
        "lost": lost[rows].astype(int).tolist(),
        "shows": shown[rows].tolist(),
        "shown_said": a["shown_said"][listed].tolist(),
        "shown_margin": whole(a["shown_margin"][listed], 0.01),
        "planes": planes,
    }


def maps(arrays: Sequence[Mapping[str, np.ndarray]], how: str) -> dict[str, Any]:
    """The networks by their clean images and by their corrupted ones."""
    clean = [(a["angles"][np.arange(len(a["label"])), a["label"]], a["length"], a["margin"]) for a in arrays]
    shown = [(a["shown_angle"], a["shown_length"], a["shown_margin"]) for a in arrays]
    return {"how": how, "clean": layout(clean, how), "shown": layout(shown, how)}


def pictures(dense: Mapping[str, np.ndarray], rows: np.ndarray, listed: np.ndarray) -> dict[str, Any]:
    """Sprites of the clean images and of the corrupted showings that are listed, where pictures were kept."""
    if "pictures" not in dense:
        return {"pictures": None, "shown_pictures": None}
    at = {row: place for place, row in enumerate(dense["rows"].tolist())}
    found = {"pictures": sprite(dense["pictures"][[at[row] for row in rows.tolist()]]), "shown_pictures": None}
    if "shown_pictures" in dense:
        # From the showings that have pictures to the places of those that are listed.
        order = np.cumsum(listed) - 1
        have = listed[dense["shown_at"]]
        if have.any():
            found["shown_pictures"] = sprite(dense["shown_pictures"][have]) | {
                "at": order[dense["shown_at"][have]].tolist()
            }
    return found
