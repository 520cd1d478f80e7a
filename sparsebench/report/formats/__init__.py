"""Formats: a board's standing as Markdown, CSV, LaTeX, JSON, Parquet and one HTML page.

===========  =======================  ================================================================
``md``       ``leaderboard.md``       the page for a repository, with the figures
``csv``      ``leaderboard.csv``      one row a (task, method, sparsity)
             ``ranking.csv``          one row a method
``tex``      ``leaderboard.tex``      booktabs tables, to be put into a paper with ``\\input``
``json``     ``leaderboard.json.gz``  every frame of the standing; read back with :func:`.frames.read`
``parquet``  ``records.parquet``      one row a record, all its fields; read with ``pandas.read_parquet``
``html``     ``leaderboard.html``     one self-contained page
===========  =======================  ================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sparsebench.errors import UsageError, unknown
from sparsebench.files import write_atomic

if TYPE_CHECKING:
    from sparsebench.report import Standing

DEFAULT = ("md", "csv")
ALL = "all"


def wanted(texts: Iterable[str] | None) -> tuple[str, ...]:
    """The formats that were asked for, each once; commas separate as well as spaces, ``all`` is every one.

    Raises:
        UsageError: a format that does not exist, or Parquet without pyarrow.

    >>> wanted(["html,tex", "html"]), wanted(None)
    (('html', 'tex'), ('md', 'csv'))
    """
    names = [name.strip() for text in texts or () for name in text.split(",") if name.strip()]
    for name in names:
        if name != ALL and name not in WRITERS:
            raise unknown("format", name, [*WRITERS, ALL], "sparsebench report --help")
    found = tuple(WRITERS) if ALL in names else tuple(dict.fromkeys(names or DEFAULT))
    if "parquet" in found and find_spec("pyarrow") is None:
        raise UsageError("format 'parquet' needs pyarrow, which is not installed: pip install 'sparsebench[page]'")
    return found


def write(
    standing: Standing,
    folder: str | Path,
    formats: Iterable[str] = DEFAULT,
    figures: bool = True,
    memory: str | Path | None = None,
) -> list[Path]:
    """Write a standing in each format, atomically; the same records give the same bytes.

    Args:
        folder: ``results/<board>``: the files are written there, and the records behind the standing lie there.
        formats: of :data:`WRITERS`.
        figures: draw the figures of the Markdown page.
        memory: as for :func:`sparsebench.report.read`.

    Returns:
        The files written, in the order asked for, then the figures.
    """
    from sparsebench.report import drawn as pictures

    folder, formats = Path(folder), list(formats)
    with_figures = figures and "md" in formats
    drawn = pictures.figures(standing, folder, memory and Path(memory, "figures.json")) if with_figures else []
    named = [path.name for path in drawn if path.suffix == ".png"]
    written = []
    for name in formats:
        if name in DEFAULT:  # of records, code and figures alone; others read more
            written += pictures.page(WRITERS[name], standing, folder, named, memory and Path(memory, f"{name}.json"))
        else:
            written += WRITERS[name](standing, folder, named)
    return [*written, *drawn]


Writer = Callable[["Standing", Path, list[str]], list[Path]]
"""Standing, folder and names of the figures -> the files written."""


def _md(standing: Standing, folder: Path, figures: list[str]) -> list[Path]:
    from sparsebench.report import markdown

    return [write_atomic(folder / "leaderboard.md", markdown.page(standing, figures))]


def _csv(standing: Standing, folder: Path, figures: list[str]) -> list[Path]:
    frames = {"leaderboard.csv": standing.rows, "ranking.csv": standing.summary}
    return [
        write_atomic(folder / name, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
        for name, frame in frames.items()
    ]


def _tex(standing: Standing, folder: Path, figures: list[str]) -> list[Path]:
    from sparsebench.report.formats import tex

    return [write_atomic(folder / "leaderboard.tex", tex.tables(standing))]


def _json(standing: Standing, folder: Path, figures: list[str]) -> list[Path]:
    from sparsebench.report.formats import frames

    return [write_atomic(folder / "leaderboard.json.gz", frames.content(standing))]


def _parquet(standing: Standing, folder: Path, figures: list[str]) -> list[Path]:
    from sparsebench.report.formats import parquet
    from sparsebench.report.kept import kept

    return [write_atomic(folder / "records.parquet", parquet.content(kept(standing, folder)))]


def _html(standing: Standing, folder: Path, figures: list[str]) -> list[Path]:
    from sparsebench.report import html
    from sparsebench.report.kept import kept

    return [write_atomic(folder / "leaderboard.html", html.page(standing, kept(standing, folder)))]


WRITERS: dict[str, Writer] = {
    "md": _md, "csv": _csv, "tex": _tex, "json": _json, "parquet": _parquet, "html": _html,
}  # fmt: skip
