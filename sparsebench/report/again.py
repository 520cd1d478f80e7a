"""Again: a report on records that have not changed since the last one says what that one said.

Reading, ranking and printing ten thousand cells takes seconds; that no file has changed is seen in a fifth of one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from sparsebench.files import write_atomic
from sparsebench.report import drawn
from sparsebench.report.stamps import Listing, files, of_files, stamp

FILE_WIDTH = 120
"""Columns where the output goes to a file or a pipe."""


def console() -> Console:
    """The terminal, or a page of a fixed width."""
    found = Console()
    return found if found.is_terminal else Console(width=max(found.width, FILE_WIDTH))


def said(
    folder: Path, board: Mapping[str, Any], asked: Any, memory: Path, report: Callable[[Listing, Console], list[Path]]
) -> str:
    """What a report prints, files first.

    Args:
        folder: ``results/<board>``.
        asked: what else decides on files and text, as JSON.
        memory: a folder of this machine, see ``rows``.
        report: makes the files, from those listed in ``folder``, and prints the tables on a console; called only where
            something has changed.
    """
    screen, file = console(), memory / "said.json"
    look = [screen.width, screen.is_terminal, screen.color_system]
    there = list(files(folder))
    records = of_files(there, time.time_ns())
    key = drawn.made_of(records, board, json.dumps([asked, look])) if records else ""
    last = drawn.last(folder, file)
    if key and last.get("made_of") == key:
        return last["said"]
    with screen.capture() as captured:
        written = report(there, screen)
    text = "".join(f"{path}\n" for path in written) + captured.get()
    if key:
        stamps = {str(path.relative_to(folder)): stamp(path) for path in written}
        with suppress(OSError):
            write_atomic(file, json.dumps({"made_of": key, "files": stamps, "said": text}))
    return text
