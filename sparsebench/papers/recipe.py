"""Recipe: one paper's experiment, in one file of ``benchmarks/papers`` that defines ``RECIPE``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sparsebench import benchmarks
from sparsebench.errors import UsageError, unknown
from sparsebench.papers.claims import Claim, Finding, Paper
from sparsebench.papers.evidence import Evidence
from sparsebench.papers.figures import Figure
from sparsebench.papers.instead import renamed, swapped
from sparsebench.record import CorruptRecord, Record, record_path
from sparsebench.registry import import_file

if TYPE_CHECKING:
    from sparsebench.grid.board import Board

FOLDER = Path(benchmarks.__file__).parent / "papers"
SCALES = ("smoke", "full")


@dataclass(frozen=True)
class Recipe:
    """A board at each scale and the claims that its records decide."""

    paper: Paper
    version: int
    smoke: Mapping[str, Any]
    """The keys of a board's YAML file without name and version; minutes on two cores."""
    full: Mapping[str, Any]
    """The same in the paper's own setting."""
    claims: Sequence[Claim]
    figures: Sequence[Figure] = ()
    departures: str = ""
    """In what the measurement is not the paper's, and why."""
    name: str = field(default="", compare=False)
    """That of its file."""

    def board(self, scale: str, instead: str = "") -> Board:
        """The board of a scale, which bears the recipe's name; ``instead``: see :mod:`sparsebench.papers.instead`.

        Raises:
            UsageError: an unknown scale, or a board that is none.
        """
        from sparsebench.grid.board import from_text

        if scale not in SCALES:
            raise unknown("scale", scale, SCALES, "sparsebench reproduce --help")
        content = {"name": self.name, "version": self.version, **getattr(self, scale)}
        board = from_text(yaml.safe_dump(content), f"recipe {self.name}, {scale}")
        return swapped(board, instead) if instead else board

    def evidence(self, scale: str, results: Path, instead: str = "") -> Evidence:
        """The records of a scale, as far as they are there and can be trusted."""
        board, found = self.board(scale), []
        for asked, cell in zip(board.cells, self.board(scale, instead).cells, strict=True):
            record = _trusted(record_path(results, board.name, cell.method.name, cell.id))
            found += [renamed(record.data, asked.task.name)] if record else []
        return Evidence(scale, board, found, instead=instead)

    def findings(self, evidence: Evidence) -> dict[str, Finding]:
        """What the evidence says of each claim, by name."""
        return {claim.name: claim.find(evidence) for claim in self.claims}


def names() -> list[str]:
    """The recipes that ship."""
    return sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))


def load(name: str) -> Recipe:
    """A shipped recipe by name, or one from a file.

    Raises:
        UsageError: there is none, or the file defines no RECIPE.
    """
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise UsageError(f"recipe file {name} does not exist; give a path, or a name from 'sparsebench reproduce'")
        module = import_file(Path(name).resolve())
    elif name in names():
        module = importlib.import_module(f"sparsebench.benchmarks.papers.{name}")
    else:
        raise unknown("paper", name, names(), "sparsebench reproduce")
    recipe = getattr(module, "RECIPE", None)
    if not isinstance(recipe, Recipe):
        raise UsageError(f"{name}: a recipe's file defines RECIPE = Recipe(...), see benchmarks/papers")
    object.__setattr__(recipe, "name", Path(name).stem)
    return recipe


def _trusted(path: Path) -> Record | None:
    try:
        return Record.load(path)
    except CorruptRecord:
        return None
