"""Check: whether a paper's page and table are what its records give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sparsebench.papers import page
from sparsebench.papers.recipe import SCALES, Recipe


def same_pages(recipe: Recipe, folder: Path) -> Iterator[str]:
    """What differs between the files in ``results/papers/<name>`` and those rendered from the records there."""
    for scale in SCALES:
        evidence = recipe.evidence(scale, folder.parent)
        if not evidence.records:
            continue
        findings = recipe.findings(evidence)
        figures = [f"{scale}-{f.name}.png" for f in recipe.figures if (folder / f"{scale}-{f.name}.png").is_file()]
        fresh = {
            f"{scale}.md": page.markdown(recipe, evidence, findings, figures),
            f"{scale}.csv": page.as_csv(recipe.claims, findings),
        }
        for name, text in fresh.items():
            there = folder / name
            if not there.is_file() or there.read_text(encoding="utf-8") != text:
                state = "is not what the records give" if there.is_file() else "is missing"
                yield f"{name} {state}: sparsebench reproduce {recipe.name} --scale {scale} --render"
