"""Figures of a recipe: curves of a metric against sparsity, or a drawing of the recipe's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparsebench.papers.claims import NotTestable
from sparsebench.papers.evidence import Evidence
from sparsebench.report.figure import (
    DENSE_LINE,
    RC,
    Style,
    compression,
    dodge,
    legend,
    panels,
    save,
    sparsity_axis,
    styles,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Curves:
    """A metric against sparsity, a panel a task, a line a method: means with 95 % intervals over seeds.

    Args:
        name: becomes part of the file's name.
        metric: as in ``Evidence.values``.
        label: of the vertical axis.
        factor: of the metric, 100 for percent.
        dense: draw the dense network's value as a dashed line.
    """

    name: str
    metric: str
    tasks: Sequence[str]
    methods: Sequence[str]
    label: str
    factor: float = 100.0
    dense: bool = True

    def draw(self, evidence: Evidence, stem: Path) -> list[Path]:
        """Write the figure; tasks and methods that this scale does not have are left out."""
        import matplotlib

        lines = {task: self._lines(evidence, task) for task in self.tasks}
        tasks = [task for task in self.tasks if lines[task]]
        if not tasks:
            return []
        with matplotlib.rc_context(RC):
            methods = [m for m in map(evidence.name, self.methods) if any(m in lines[task] for task in tasks)]
            look, (figure, all_axes) = styles(methods), panels(len(tasks), names=methods)
            columns = all_axes[0].get_subplotspec().get_gridspec().ncols
            for place, (task, axes) in enumerate(zip(tasks, all_axes, strict=True)):
                levels = sorted({s for line in lines[task].values() for s in line})
                for (method, line), shift in zip(lines[task].items(), dodge(levels, len(lines[task])), strict=True):
                    _line(axes, line, look[method], shift, self.factor)
                self._dense(evidence, task, axes)
                sparsity_axis(axes, levels, label=place >= len(tasks) - columns)
                axes.set_title(task, loc="left")
                if place % columns == 0:
                    axes.set_ylabel(self.label)
            legend(figure, look, methods)
            return save(figure, stem)

    def _lines(self, evidence: Evidence, task: str) -> dict:
        """Method -> sparsity -> estimate."""
        found = {}
        for method in map(evidence.name, self.methods):
            line = {}
            try:
                for sparsity in evidence.levels(task, method):
                    line[sparsity] = evidence.mean(self.metric, task=task, method=method, sparsity=sparsity)
            except NotTestable:
                pass
            if line:
                found[method] = line
        return found

    def _dense(self, evidence: Evidence, task: str, axes: Axes) -> None:
        try:
            value = evidence.mean(self.metric, task=task, method="dense").value if self.dense else None
        except NotTestable:
            return
        if value is not None:
            axes.axhline(self.factor * value, zorder=1, **DENSE_LINE)


def _line(axes: Axes, line: dict, style: Style, shift: float, factor: float) -> None:
    levels = sorted(line)
    found = [line[s].scaled(factor) for s in levels]
    half = [0.0 if e.low is None else e.high - e.value for e in found]
    bars = axes.errorbar(
        compression(levels) + shift, [e.value for e in found], yerr=half, elinewidth=0.8, capsize=0, **style.line()
    )
    bars[2][0].set_alpha(0.55)


@dataclass(frozen=True)
class Drawing:
    """A figure of the recipe's own: ``fill(evidence, axes)`` draws into a list of panels in a row.

    It may raise NotTestable where the evidence is not there; then there is no figure.
    """

    name: str
    fill: Callable[[Evidence, list], None]
    panels: int = 1
    size: tuple[float, float] = (4.2, 3.4)
    """Width and height of a panel in inches."""

    def draw(self, evidence: Evidence, stem: Path) -> list[Path]:
        """Write the figure."""
        import matplotlib
        from matplotlib.figure import Figure as Canvas

        with matplotlib.rc_context(RC):
            figure = Canvas(figsize=(self.size[0] * self.panels, self.size[1]), layout="constrained")
            axes = list(figure.subplots(1, self.panels, squeeze=False)[0])
            try:
                self.fill(evidence, axes)
            except NotTestable:
                return []
            return save(figure, stem)


Figure = Curves | Drawing
