"""Drawing: accuracy over sparsity as a small SVG whose colours the page's style sets."""

from __future__ import annotations

from html import escape
from math import log2

from sparsebench.report.cards.blocks import Curve, Line
from sparsebench.report.cells import percent, plus_minus, sparsity_label

WIDTH, HEIGHT = 320, 200
LEFT, RIGHT, TOP, BOTTOM = 38, 12, 14, 30
KEY = "".join(
    f'<span class="{kind}">{text}</span>'
    for kind, text in (("mine", "this method"), ("best", "best of the board"), ("dense", "dense"))
)


def draw(curve: Curve) -> str:
    """A figure: the method with its band, the best of the board, the dense network as a level."""
    sparsities = sorted({s for line in curve.lines for s, _, _ in line.points})
    values = [
        v for line in curve.lines for _, mean, half in line.points for v in (mean - (half or 0), mean + (half or 0))
    ]
    values += [curve.dense] if curve.dense is not None else []
    low, high = max(0.0, min(values)), min(1.0, max(values))
    low = max(0.0, low - max(0.02, (high - low) / 10))

    def x(sparsity: float) -> float:
        places = [-log2(1 - s) for s in (sparsities[0], sparsity, sparsities[-1])]
        share = (places[1] - places[0]) / (places[2] - places[0]) if len(sparsities) > 1 else 0.5
        return LEFT + 10 + share * (WIDTH - LEFT - RIGHT - 20)

    def y(value: float) -> float:
        return TOP + (high - min(max(value, low), high)) / (high - low) * (HEIGHT - TOP - BOTTOM)

    inside = [*_grid(low, high, y), *_sparsities(sparsities, x)]
    if curve.dense is not None:
        level = y(curve.dense)
        inside.append(f'<line class="dense" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{level:.1f}" y2="{level:.1f}"/>')
    for line in sorted(curve.lines, key=lambda line: line.mine):
        inside += _line(line, x, y)
    name = escape(curve.task)
    drawn = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="accuracy on {name}">{"".join(inside)}</svg>'
    return f"<figure><figcaption>{name}<small>{KEY}</small></figcaption>{drawn}</figure>"


def _line(line: Line, x, y) -> list[str]:
    kind = "mine" if line.mine else "best"
    drawn = []
    if line.mine:
        upper = [(x(s), y(mean + (half or 0))) for s, mean, half in line.points]
        lower = [(x(s), y(mean - (half or 0))) for s, mean, half in line.points]
        drawn.append(f'<polygon class="band" points="{_points([*upper, *reversed(lower)])}"/>')
    drawn.append(f'<polyline class="{kind}" points="{_points([(x(s), y(mean)) for s, mean, _ in line.points])}"/>')
    for s, mean, half in line.points:
        said = f"{line.name} at {sparsity_label(s)}: {plus_minus(mean, half)}"
        drawn.append(
            f'<circle class="{kind}" cx="{x(s):.1f}" cy="{y(mean):.1f}" r="3"><title>{escape(said)}</title></circle>'
        )
    return drawn


def _points(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in points)


def _grid(low: float, high: float, y) -> list[str]:
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / s <= 5)
    first = int(low / step) + (low > 0)
    ticks = [k * step for k in range(first, int(high / step + 1e-9) + 1)]
    return [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{y(t) + 3:.1f}" text-anchor="end">{percent(t, 0)}</text>'
        for t in ticks
    ]


def _sparsities(sparsities: list[float], x) -> list[str]:
    return [
        f'<text class="tick" x="{x(s):.1f}" y="{HEIGHT - 12}" text-anchor="middle">{sparsity_label(s)}</text>'
        for s in sparsities
    ]
