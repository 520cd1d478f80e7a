"""Drawn: figures are drawn again only where what they show, the code or the files have changed.

Drawing ten thousand cells takes seconds, and the same numbers give the same bytes.
"""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from sparsebench.files import write_atomic
from sparsebench.report.rows import stamp

if TYPE_CHECKING:
    from sparsebench.report import Standing


def figures(standing: Standing, folder: Path, memory: str | Path | None = None) -> list[Path]:
    """The figures of a board, up to date; ``memory`` as in :func:`sparsebench.report.rows.read`."""
    from sparsebench.report import critical, curves, pareto_figure

    shows = _shows(standing) if memory else ""
    if memory and (there := _recall(folder, memory, shows)) is not None:
        return there
    drawn = [
        *curves.accuracy_figure(standing.cells, standing.rows, standing.board, folder / "curves"),
        *curves.dead_neuron_figure(standing.rows, standing.board, folder / "dead_neurons"),
        *pareto_figure.pareto_figure(standing.points, standing.rows, standing.board, folder / "pareto"),
        *critical.critical_figure(standing.ranks, folder / "cd"),
    ]
    if memory:
        with suppress(OSError):
            files = {path.name: stamp(path) for path in drawn}
            write_atomic(memory, json.dumps({"shows": shows, "files": files}))
    return drawn


def _recall(folder: Path, memory: str | Path, shows: str) -> list[Path] | None:
    """The files of last time, if they show the same and nobody has touched them."""
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        last = json.loads(Path(memory).read_bytes())
        if last["shows"] == shows and all(stamp(folder / name) == then for name, then in last["files"].items()):
            return [folder / name for name in last["files"]]
    return None


def _shows(standing: Standing) -> str:
    """Hash of all that decides how the figures look."""
    digest = sha256("".join(map(version, ("matplotlib", "scikit-posthocs"))).encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    digest.update(json.dumps([standing.board[key] for key in ("tasks", "methods", "sparsities")]).encode())
    for table in (standing.rows, standing.points, standing.ranks):
        digest.update(table.to_csv().encode())
    digest.update(standing.cells.groupby("task")["chance"].max().to_csv().encode())
    return digest.hexdigest()
