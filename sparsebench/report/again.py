"""Again: a report on records that have not changed since the last one says what that one said.

Reading, ranking and printing ten thousand cells takes seconds; that no file has changed is seen in a fifth of one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from sparsebench.files import write_atomic
from sparsebench.report import drawn
from sparsebench.report.stamps import Listing, listing, stamp

Files = Callable[[], list[Path]]
"""Makes the files of a report."""
FILE_WIDTH = 120
"""Columns where the output goes to a file or a pipe."""


def console() -> Console:
    """The terminal, or a page of a fixed width."""
    found = Console()
    return found if found.is_terminal else Console(width=max(found.width, FILE_WIDTH))


def said(
    folder: Path, board: Mapping[str, Any], asked: Any, memory: Path, report: Callable[[Listing, Console], Files]
) -> Iterator[str]:
    """What a report prints, part by part: the tables as soon as they are there, then the files.

    Args:
        folder: ``results/<board>``.
        asked: what else decides on files and text, as JSON.
        memory: a folder of this machine, see ``rows``.
        report: prints the tables of the records listed on a console and returns what makes the files; called only
            where something has changed.
    """
    screen, file = console(), memory / "said.json"
    look = [screen.width, screen.is_terminal, screen.color_system]
    there = listing(folder)
    key = drawn.made_of(there.seen, board, json.dumps([asked, look])) if there.seen else ""
    last = drawn.last(folder, file)
    if key and last.get("made_of") == key:
        yield last["said"]
        return
    with screen.capture() as captured:
        make = report(there, screen)
    tables = captured.get()
    yield tables
    written = make()
    paths = "".join(f"{path}\n" for path in written)
    yield paths
    if key:
        stamps = {str(path.relative_to(folder)): stamp(path) for path in written}
        with suppress(OSError):
            write_atomic(file, json.dumps({"made_of": key, "files": stamps, "said": tables + paths}))
