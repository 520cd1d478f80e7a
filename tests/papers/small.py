"""A recipe's claims on a few real cells, and on cells whose numbers were exchanged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparsebench.papers import Evidence, Recipe, Verdict
from sparsebench.papers import recipe as recipes
from tests.grid.conftest import run_inline


def shortened(name: str, **changes: Any) -> Recipe:
    """A shipped recipe whose smoke board has other keys."""
    recipe = recipes.load(name)
    return replace(recipe, smoke={**recipe.smoke, **changes})


def measured(recipe: Recipe, store: Path) -> Evidence:
    """Every cell of the smoke board, run in this process."""
    board = recipe.board("smoke")
    result = run_inline(board, store)
    assert not result.failed, result.failed
    return Evidence("smoke", board, [dict(record.data) for record in result.records.values()])


def verdict(recipe: Recipe, claim: str, evidence: Evidence) -> Verdict:
    return next(c for c in recipe.claims if c.name == claim).find(evidence).verdict


def points(recipe: Recipe, claim: str, evidence: Evidence) -> list[str]:
    """What became of each point of a claim."""
    return [point.word for point in next(c for c in recipe.claims if c.name == claim).find(evidence).points]


def grafted(e: Evidence, method: str, by: str, keys: tuple[str, ...] = ("metrics", "curves")) -> Evidence:
    """As if an arm had given what another one gave, the dense one at sparsity 0; its other figures stay its own."""
    method, by = e.name(method), e.name(by)

    def given(record: Mapping[str, Any]) -> Mapping[str, Any]:
        cell = record["cell"]
        if cell["method"] != method:
            return record
        there = {"task": cell["task"], "seed": cell["seed"], "sparsity": cell["sparsity"]}
        other = e.record(method=by, **there)
        return {**record, **{key: other[key] for key in keys}}

    return Evidence(e.scale, e.board, [given(record) for record in e.records])
