"""``sparsebench reproduce [PAPER]``"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sparsebench.cli.run import computed, context_of, failures
from sparsebench.errors import UsageError
from sparsebench.papers import page, status
from sparsebench.papers import recipe as recipes
from sparsebench.papers.recipe import SCALES, Recipe

FOLDER = "papers"
"""Below the folder of results."""


def command(arguments) -> int:
    results = Path(arguments.results) / FOLDER
    if arguments.paper is None:
        return listing(results)
    recipe = recipes.load(arguments.paper)
    board = recipe.board(arguments.scale, arguments.instead)
    if arguments.render:
        return tell(recipe, arguments, results, "rendered")
    context, options = context_of(board, arguments)
    began = time.perf_counter()
    result = computed(board, context, arguments, options, results)
    if result is None:  # left to a cluster
        return 0
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    work = f"{result.jobs} jobs in {time.perf_counter() - began:.0f} s" if result.jobs else "nothing to do"
    tell(recipe, arguments, results, work)
    for line in failures(result.failed, {cell.id: cell.label for cell in board.cells}):
        print(line, file=sys.stderr)
    return 1 if result.failed else 0


def listing(results: Path) -> int:
    """What there is, and what became of it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("paper", "link", "title", *SCALES):
        table.add_column(heading, overflow="fold")
    for row in status.of_all(results):
        table.add_row(*(row[key] for key in ("name", "link", "title", *SCALES)))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    print("\nsparsebench reproduce PAPER [--scale smoke|full]")
    return 0


def tell(recipe: Recipe, arguments, results: Path, work: str) -> int:
    """Write the page, and print what it says."""
    scale = arguments.scale
    evidence = recipe.evidence(scale, results, arguments.instead)
    if not evidence.records:
        raise UsageError(
            f"no records of {recipe.name} at scale {scale} in {results / recipe.name}: run it without --render"
        )
    written = page.write(recipe, evidence, results / recipe.name)
    findings = recipe.findings(evidence)
    print(f"{recipe.paper.title} ({recipe.paper.link}), scale {scale}\n")
    for claim in recipe.claims:
        finding = findings[claim.name]
        print(f"{page.MARK[finding.verdict]} {finding.verdict.value:<17} {claim.name}: {claim.text}")
    print(f"\n{len(evidence.records)} cells, {work}; page: {written[0]}")
    return 0
