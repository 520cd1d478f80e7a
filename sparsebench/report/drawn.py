"""Drawn: figures and pages are made again only where what they show, the code or the files have changed.

Drawing ten thousand cells takes seconds and writing their page most of one, and the same numbers give the same bytes.
Whether records have changed is told by their files' stamps (see ``rows``); figures are known by their numbers, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsebench.files import write_atomic
from sparsebench.report.stamps import stamp

if TYPE_CHECKING:
    from sparsebench.report import Standing

PACKAGE = Path(__file__).parents[1]
LIBRARIES = ("matplotlib", "numpy", "pandas")


def figures(standing: Standing, folder: Path, memory: str | Path | None = None) -> list[Path]:
    """The figures of a board, up to date; ``memory`` as in :func:`sparsebench.report.rows.read`."""
    from sparsebench.report import critical, curves, pareto_figure

    key = _key(standing, memory)
    known = last(folder, memory)
    if key and known.get("made_of") == key:
        return [folder / name for name in known["files"]]
    shows = _shows(standing) if memory else ""
    if known and known.get("shows") == shows:
        _remember(memory, [folder / name for name in known["files"]], made_of=key, shows=shows)
        return [folder / name for name in known["files"]]
    drawn = [
        *curves.accuracy_figure(standing.cells, standing.rows, standing.board, folder / "curves"),
        *curves.dead_neuron_figure(standing.rows, standing.board, folder / "dead_neurons"),
        *pareto_figure.pareto_figure(standing.points, standing.rows, standing.board, folder / "pareto"),
        *critical.critical_figure(standing.ranks, folder / "cd"),
    ]
    _remember(memory, drawn, made_of=key, shows=shows)
    return drawn


def page(
    write: Callable[[Standing, Path, list[str]], list[Path]],
    standing: Standing,
    folder: Path,
    pictures: Sequence[str],
    memory: str | Path | None = None,
) -> list[Path]:
    """The files of a format that is made of records, code and names of figures alone, up to date."""
    key = _key(standing, memory, *pictures)
    known = last(folder, memory)
    if key and known.get("made_of") == key:
        return [folder / name for name in known["files"]]
    written = write(standing, folder, list(pictures))
    if key:
        _remember(memory, written, made_of=key)
    return written


def last(folder: Path, memory: str | Path | None) -> dict[str, Any]:
    """What was remembered, if nobody has touched the files."""
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        known = json.loads(Path(memory).read_bytes())
        if all(stamp(folder / name) == then for name, then in known["files"].items()):
            return known
    return {}


def _remember(memory: str | Path | None, files: Sequence[Path], **by: str) -> None:
    if memory:
        # A report can be made from a place where nothing can be remembered.
        with suppress(OSError):
            write_atomic(memory, json.dumps({**by, "files": {path.name: stamp(path) for path in files}}))


def _key(standing: Standing, memory: str | Path | None, *further: str) -> str:
    """What a file is made of; empty where nothing is remembered, or a record is too fresh to tell its next change."""
    return made_of(standing.seen, standing.board, *further) if memory and standing.seen else ""


def made_of(seen: str, board: Mapping[str, Any], *further: str) -> str:
    """Hash of records' stamps, board and code."""
    texts = [seen, json.dumps(dict(board), sort_keys=True, default=str), _code(), *further]
    return sha256("\n".join(texts).encode()).hexdigest()


def _shows(standing: Standing) -> str:
    """Hash of all that decides how the figures look."""
    from pandas.util import hash_pandas_object

    digest = sha256(_code().encode())
    digest.update(json.dumps([standing.board[key] for key in ("tasks", "methods", "sparsities")]).encode())
    chance = standing.cells.groupby("task")[["chance"]].max()
    for table in (standing.rows, standing.points, standing.ranks, chance):
        digest.update(json.dumps(list(table.columns)).encode())
        digest.update(hash_pandas_object(table).to_numpy().tobytes())
    return digest.hexdigest()


@cache
def _code() -> str:
    """Hash of the code between a record and a page, and the versions of the libraries that draw."""
    digest = sha256("".join(map(version, LIBRARIES)).encode())
    verifying = [PACKAGE / f"{name}.py" for name in ("protocol", "seal", "record")]
    for file in sorted([*(PACKAGE / "report").rglob("*.py"), *(PACKAGE / "stats").glob("*.py"), *verifying]):
        digest.update(file.read_bytes())
    return digest.hexdigest()
