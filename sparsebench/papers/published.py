"""Tables of published numbers as claims: each number a point, judged by its distance to what was measured."""

from __future__ import annotations

from collections.abc import Mapping

from sparsebench.papers.claims import Claim, Finding, NotTestable, Point
from sparsebench.papers.evidence import Evidence

Place = tuple[str, str, float]
"""Task, method, sparsity."""


def published_table(
    name: str,
    text: str,
    values: Mapping[Place, float | None],
    *,
    source: str,
    setting: str,
    metric: str = "top1",
    runs: int | None = None,
    tolerance: float = 0.5,
    factor: float = 100.0,
    unit: str = "%",
) -> list[Claim]:
    """A table of numbers as one claim, in a list.

    A number holds where it lies in the measured 95 % interval widened by ``tolerance`` on both sides, and the interval
    is no wider than twice the tolerance to a side; it is refuted where it lies outside.

    Args:
        values: (task, method, sparsity) -> the published value, in ``unit``; None where it was not recovered.
        setting: how the published numbers were made.
        runs: how many runs are behind each; None = unknown.
        factor: of a record's metric, to print it in ``unit``.
    """

    def judge(evidence: Evidence) -> Finding:
        points = [_point(evidence, place, value) for place, value in values.items()]
        missing = sum(point.estimate is None for point in points)
        if missing == len(points):
            return Finding(points, f"Needs --scale full: {_missing(evidence, next(iter(values)))}")
        return Finding(points, f"{missing} of {len(points)} numbers are not measured at this scale" if missing else "")

    def _point(evidence: Evidence, place: Place, value: float | None) -> Point:
        task, method, sparsity = place
        where = f"{task}, {method}" + (f", {100 * sparsity:.4g} %" if sparsity else "")
        try:
            found = evidence.mean(metric, task=task, method=method, sparsity=sparsity).scaled(factor)
        except NotTestable:
            return Point(where, None, value, unit=unit)
        if value is None or found.low is None:
            return Point(where, found, value, unit=unit)
        half, apart = found.high - found.value, abs(found.value - value)
        near = apart <= tolerance + half
        return Point(where, found, value, holds=near and half <= 2 * tolerance, refuted=not near, unit=unit)

    def _missing(evidence: Evidence, place: Place) -> str:
        try:
            evidence.mean(metric, task=place[0], method=place[1], sparsity=place[2])
        except NotTestable as reason:
            return str(reason)
        return "no number was recovered"

    behind = f"{runs} runs each, " if runs else ""
    rule = f"within {tolerance:g} {unit} of the measured 95 % interval, which is at most {2 * tolerance:g} to a side"
    return [Claim(name, text, judge, rule=rule, source=f"{source} ({behind}{setting})")]
