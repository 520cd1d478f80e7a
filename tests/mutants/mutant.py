"""Mutant: one known bug of the field, as a change of one file of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class Moved(Exception):
    """The code that a mutant changes is no longer there, or is there twice."""


@dataclass(frozen=True)
class Mutant:
    """A mistake, where it was seen, and the tests that must fail because of it."""

    name: str
    file: str
    """Path below the root of the repository, such as ``callbacks/upkeep.py``."""
    edits: Mapping[str, str]
    """Exact text -> what stands in its place; each text occurs once in the file."""
    seen: str
    """One sentence: the failure as it occurs in the field."""
    effect: str
    """What it does to a number."""
    rule: int | None
    """The audit's rule that does not hold of a cell with the mistake; None where none speaks of it."""
    killed_by: tuple[str, ...]
    """Node ids of pytest; of each at least one test must fail."""

    def apply(self, source: str) -> str:
        """The file's text with the mistake in it.

        Raises:
            Moved: a text to replace does not occur exactly once.
        """
        for old, new in self.edits.items():
            found = source.count(old)
            if found != 1:
                raise Moved(
                    f"mutant {self.name!r}: {self.file} has the text to change {found} times, not once: the code has "
                    f"moved, so write the mutant anew against it. The text is:\n{old}"
                )
            source = source.replace(old, new)
        return source


def installed_path(file: str) -> Path:
    """Where a file of the repository lies in a wheel.

    >>> installed_path("callbacks/upkeep.py").as_posix(), installed_path("sparsebench/masks.py").as_posix()
    ('sparsebench/callbacks/upkeep.py', 'sparsebench/masks.py')
    """
    path = Path(file)
    return path if path.parts[0] == "sparsebench" else Path("sparsebench") / path
