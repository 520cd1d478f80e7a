"""Blocks: what a card is made of, before it is Markdown or HTML.

Text may hold `code`, **strong** words and [links](address), as in Markdown.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Code:
    """Lines as they are: formulas, commands."""

    lines: tuple[str, ...]
    language: str = "text"


@dataclass(frozen=True)
class Bullets:
    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()
    """Columns of numbers, aligned to the right."""


@dataclass(frozen=True)
class Curve:
    """Accuracy over sparsity on one task."""

    task: str
    dense: float | None
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Line:
    name: str
    points: tuple[tuple[float, float, float | None], ...]
    """(sparsity, mean, half width of its interval) in sparsity order."""
    mine: bool = False


@dataclass(frozen=True)
class Curves:
    """Drawn in HTML; Markdown has the table beside it."""

    curves: tuple[Curve, ...]


Block = Text | Code | Bullets | Table | Curves


@dataclass(frozen=True)
class Section:
    title: str
    blocks: tuple[Block, ...]
    level: int = 2


@dataclass(frozen=True)
class Card:
    """A method's page."""

    title: str
    """The method as it is written."""
    tagline: str
    sections: tuple[Section, ...] = field(default=())
