"""Catalogue: all known bugs, by theme."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.pack import counts, data, masks, measures, rewinding, scores, storage

THEMES: dict[str, list[Mutant]] = {
    "Masks while training": masks.MUTANTS,
    "Rewinding": rewinding.MUTANTS,
    "Scores": scores.MUTANTS,
    "Counts and scope": counts.MUTANTS,
    "Data": data.MUTANTS,
    "Measures and statistics": measures.MUTANTS,
    "Names, files and records": storage.MUTANTS,
}

MUTANTS = [mutant for theme in THEMES.values() for mutant in theme]
