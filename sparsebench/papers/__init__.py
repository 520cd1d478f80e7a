"""Papers: a recipe is a board and claims; its page prints published beside measured, with a verdict. No torch."""

from __future__ import annotations

from sparsebench.papers.claims import Claim, Finding, NotTestable, Paper, Point, Verdict
from sparsebench.papers.estimate import Estimate
from sparsebench.papers.evidence import Evidence
from sparsebench.papers.figures import Curves, Drawing
from sparsebench.papers.published import published_table
from sparsebench.papers.recipe import SCALES, Recipe

__all__ = [
    "SCALES",
    "Claim",
    "Curves",
    "Drawing",
    "Estimate",
    "Evidence",
    "Finding",
    "NotTestable",
    "Paper",
    "Point",
    "Recipe",
    "Verdict",
    "published_table",
]
