"""Status: what has been measured of every paper, from the tables beside their records."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from sparsebench.papers import recipe as recipes
from sparsebench.papers.claims import Verdict


def of_all(results: Path) -> list[dict[str, str]]:
    """A row a paper: its name, link and title, and the verdicts of each scale."""
    rows = []
    for name in recipes.names():
        recipe = recipes.load(name)
        scales = {scale: of_scale(results / name, scale) for scale in recipes.SCALES}
        rows.append({"name": name, "link": recipe.paper.link, "title": recipe.paper.title, **scales})
    return rows


def of_scale(folder: Path, scale: str) -> str:
    """The verdicts of a scale, and those of it on other data sets."""
    others = [
        f"on {path.stem.removeprefix(f'{scale}-')}: {verdicts(path)}" for path in sorted(folder.glob(f"{scale}-*.csv"))
    ]
    own = [verdicts(folder / f"{scale}.csv")] if not others or (folder / f"{scale}.csv").is_file() else []
    return "; ".join([*own, *others])


def verdicts(table: Path) -> str:
    """The verdicts of a rendered table in words; ``not run`` where there is none."""
    if not table.is_file():
        return "not run"
    with open(table, encoding="utf-8", newline="") as file:
        of_claim = {row["claim"]: row["verdict"] for row in csv.DictReader(file)}
    counts = Counter(of_claim.values())
    return ", ".join(f"{counts[v.value]} {v.value}" for v in Verdict if counts[v.value])
