"""Cards: a method's page, from the registry and the records alone; nothing is trained and torch is not imported.

``subject`` reads what was asked for, ``words`` takes docstrings apart, ``boards`` finds the records; ``parts``,
``applies``, ``results``, ``traps`` and ``settings`` fill the sections, ``markdown`` and ``html`` write them down.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sparsebench.errors import unknown
from sparsebench.report.cards.blocks import Bullets, Card, Section
from sparsebench.report.cards.subject import Subject, subject

FORMATS = ("md", "html")


def card(
    text: str,
    results: str | Path = "results",
    board: str | None = None,
    memory: Callable[[Path], Path] | None = None,
) -> Card:
    """The card of a method, or of a regime, modifier or allocation by its bare name.

    Args:
        text: any method string, ``FILE.py:METHOD``, ``FILE.py`` with one method, or a part's name.
        results: folder of the records.
        board: only this board, a name or a YAML file; None: every shipped board with records.
        memory: where this machine remembers what it read of a folder of records; None reads every record.

    Raises:
        UsageError: an unknown name (with the nearest one), or a combination that makes no sense.
    """
    from sparsebench.report.cards import applies, boards, parts, settings, traps
    from sparsebench.report.cards import results as written

    what = subject(text)
    found, notes = boards.find(what, results, board, memory)
    sections = [
        *parts.about(what),
        Section("Where it applies", (Bullets(tuple(applies.applies(what))),)),
        *written.sections(what, found, notes),
    ]
    if warnings := tuple(traps.traps(what)):
        sections.append(Section("Known traps", (Bullets(warnings),)))
    sparsities = sorted({s for one in found for s in one.board.sparsities})
    sections += settings.settings(what, [one.board for one in found], sparsities)
    return Card(what.title, _tagline(what), tuple(sections))


def render(page: Card, how: str) -> str:
    """A card as ``md`` or ``html``.

    Raises:
        UsageError: another format.
    """
    from sparsebench.report.cards import html, markdown

    if how not in FORMATS:
        raise unknown("format", how, FORMATS, "sparsebench card --help")
    return {"md": markdown, "html": html}[how].page(page)


def _tagline(what: Subject) -> str:
    from sparsebench.report.cards.words import words

    said = words(what.entries[0])
    text = said.tagline or (said.definition[0] if said.definition else "")
    return f"{text[:1].upper()}{text[1:]}" if what.part is None else f"{what.part.kind.capitalize()}: {text}"
