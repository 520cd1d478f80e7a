"""What the figures share: panels, one colour a method everywhere, a compression axis, files without dates."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sparsebench.files import write_atomic
from sparsebench.report.cells import sparsity_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Paul Tol's "muted" scheme (personal.sron.nl/~pault), told apart with any colour vision; ordered by contrast.
_COLOURS = ["#332288", "#CC6677", "#117733", "#88CCEE", "#AA4499", "#DDCC77", "#44AA99", "#882255", "#999933"]
_MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<", ">"]
DENSE_LINE = {"color": "#444444", "ls": "--", "lw": 1.2}
RC = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10, "axes.titleweight": "bold",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#888888", "axes.linewidth": 0.8,
    "axes.labelcolor": "#333333", "xtick.color": "#555555", "ytick.color": "#555555",
    "grid.color": "#e6e6e6", "grid.linewidth": 0.7, "axes.axisbelow": True, "svg.hashsalt": "sparsebench",
}  # fmt: skip


@dataclass(frozen=True)
class Style:
    """How a method looks: after nine methods the colours come again, dashed and with hollow markers."""

    colour: str
    marker: str
    dashed: bool

    def line(self) -> dict:
        return {
            "color": self.colour, "marker": self.marker, "ls": (0, (4, 1.5)) if self.dashed else "-",
            "lw": 1.3, "ms": 4.5, "mfc": "white" if self.dashed else self.colour, "mec": self.colour,
        }  # fmt: skip


def styles(methods: Sequence[str]) -> dict[str, Style]:
    """One style a method, by its place in the board's order."""
    n = len(_COLOURS)
    return {m: Style(_COLOURS[i % n], _MARKERS[(i + i // n) % n], i // n % 2 == 1) for i, m in enumerate(methods)}


def compression(sparsity: float | np.ndarray) -> np.ndarray:
    """Position on the x axis, log2(1 / density): one unit halves the weights.

    >>> compression(np.array([0.5, 0.75, 0.9375])).tolist()
    [1.0, 2.0, 4.0]
    """
    return -np.log2(1 - np.asarray(sparsity, dtype=float))


def text_width(texts: Iterable[str], size: float) -> float:
    """Inches that the longest of some texts takes at a size in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=RC["font.family"], size=size)
    widths = (text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] for text in texts)
    # Hinted letters, on whole pixels, are a few per cent wider.
    return 1.05 * max(widths, default=0.0) / 72


def panels(
    count: int, rows: int | None = None, height: float = 2.9, names: Sequence[str] = ()
) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` panels, two wide, from five on three wide; on the right room for a legend of ``names``."""
    from matplotlib.figure import Figure

    columns = math.ceil(count / rows) if rows else min(count, 2 if count <= 4 else 3)
    rows = rows or math.ceil(count / columns)
    width, legend = 3.9 * columns, max(2.3, 0.7 + text_width(names, RC["font.size"]))
    figure = Figure(figsize=(width + legend, height * rows + 0.3))
    grid = figure.add_gridspec(
        rows, columns, left=0.62 / (width + legend), right=width / (width + legend), wspace=0.2, hspace=0.36,
        bottom=0.55 / (height * rows + 0.3), top=1 - 0.35 / (height * rows + 0.3),
    )  # fmt: skip
    return figure, [figure.add_subplot(grid[i // columns, i % columns]) for i in range(count)]


def sparsity_axis(axes: Axes, sparsities: Sequence[float], label: bool) -> None:
    """Ticks at the board's sparsities, written in percent."""
    places = compression(np.asarray(sparsities))
    room = (places.max() - places.min()) or 1.0
    shown = [0]
    for i in range(1, len(places)):
        if places[i] - places[shown[-1]] > room / 9:
            shown.append(i)
    axes.set_xticks(places[shown], [sparsity_label(sparsities[i]) for i in shown])
    axes.set_xlim(places.min() - 0.08 * room, places.max() + 0.08 * room)
    axes.grid(True, axis="both")
    axes.tick_params(length=3, labelsize=8)
    if label:
        axes.set_xlabel("sparsity (log scale: compression)")


def dodge(sparsities: Sequence[float], count: int) -> np.ndarray:
    """Small shifts along x that keep the error bars of ``count`` methods apart, centred on the tick."""
    places = np.sort(compression(np.asarray(sparsities)))
    room = (places[-1] - places[0]) or 1.0
    gap = np.diff(places).min() if len(places) > 1 else room
    return (np.arange(count) - (count - 1) / 2) * min(0.5 * gap, 0.1 * room) / max(count, 1)


def legend(figure: Figure, look: dict[str, Style], order: Sequence[str]) -> None:
    """One legend for all panels, to their right: methods in the order given, then the dense network."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=method, **look[method].line()) for method in order]
    handles.append(Line2D([], [], label="dense", **DENSE_LINE))
    right = max(axes.get_position().x1 for axes in figure.axes)
    figure.legend(
        handles=handles, loc="center left", bbox_to_anchor=(right + 0.005, 0.5), frameon=False,
        handlelength=2.8, labelspacing=0.55, fontsize=RC["font.size"],
    )  # fmt: skip


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write ``stem``.png (160 dpi) and ``stem``.svg; the same data give the same bytes."""
    written = []
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=160, metadata=metadata, facecolor="white")
        written.append(write_atomic(stem.with_suffix(f".{kind}"), buffer.getvalue()))
    return written
