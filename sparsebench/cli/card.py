"""``sparsebench card METHOD``"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from sparsebench.cli.cycles import uncollected
from sparsebench.errors import UsageError
from sparsebench.grid.store import Store
from sparsebench.report.cards import FORMATS, card, render

SUFFIXES = {".html": "html", ".htm": "html", ".md": "md"}


def command(arguments) -> int:
    how = _format(arguments.format, arguments.to)
    with uncollected():
        page = card(arguments.method, arguments.results, arguments.board, _memory(arguments.store))
        text = render(page, how)
    if arguments.to:
        from sparsebench.files import write_atomic

        print(write_atomic(arguments.to, text))
    elif how == "md" and sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(text))
    else:
        sys.stdout.write(text)
    return 0


def _format(asked: str | None, to: str | None) -> str:
    """The format asked for, or that of the file's name.

    Raises:
        UsageError: neither names one, or the file is a folder.
    """
    if to and Path(to).is_dir():
        raise UsageError(f"--to {to} is a folder: name a file in it, such as {Path(to) / 'card.html'}")
    suffix = Path(to).suffix.lower() if to else ""
    if not asked and suffix and suffix not in SUFFIXES:
        raise UsageError(f"--to {to}: a card is {' or '.join(FORMATS)}; name the file so, or add --format")
    return asked or SUFFIXES.get(suffix, "md")


def _memory(store: str) -> Callable[[Path], Path] | None:
    """What reports remember, where there is a store already: to ask for a card leaves nothing behind."""
    return Store(store).memory_of if Path(store).is_dir() else None
