"""Page: published beside measured, as Markdown and CSV, rendered from records and from nothing else."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsebench.files import write_atomic
from sparsebench.papers.claims import Claim, Finding, Point, Verdict
from sparsebench.papers.estimate import Estimate
from sparsebench.papers.evidence import Evidence
from sparsebench.papers.recipe import Recipe

COLUMNS = ("claim", "verdict", "where", "published", "measured", "low", "high", "seeds", "unit", "point")
MARK = {Verdict.REPRODUCED: "✔", Verdict.PARTLY: "◐", Verdict.NOT: "✘", Verdict.UNTESTABLE: "–"}


def write(recipe: Recipe, evidence: Evidence, folder: Path) -> list[Path]:
    """Write ``<scale>.md``, ``<scale>.csv`` and ``<scale>-<figure>.png`` (and svg) of a recipe.

    Returns:
        The files written, the page first.
    """
    findings = recipe.findings(evidence)
    drawn = {f.name: f.draw(evidence, folder / f"{evidence.scale}-{f.name}") for f in recipe.figures}
    figures = [paths[0].name for paths in drawn.values() if paths]
    page = write_atomic(folder / f"{evidence.scale}.md", markdown(recipe, evidence, findings, figures))
    table = write_atomic(folder / f"{evidence.scale}.csv", as_csv(recipe.claims, findings))
    return [page, table, *(path for paths in drawn.values() for path in paths)]


def markdown(recipe: Recipe, evidence: Evidence, findings: Mapping[str, Finding], figures: Sequence[str] = ()) -> str:
    """The page of one scale."""
    paper, board = recipe.paper, evidence.board
    lines = [
        f"# {paper.title}",
        "",
        f"{paper.authors}, {paper.year}, {paper.link}. {paper.says}",
        "",
        f"Scale **{evidence.scale}**: {board.title}. {summary(findings)}.",
        "",
        "| claim | published | measured | 95 % interval | seeds | verdict |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for claim in recipe.claims:
        lines += claim_rows(claim, findings[claim.name])
    lines += ["", "## How each claim was judged", ""]
    lines += [sentence for claim in recipe.claims for sentence in rule_of(claim, findings[claim.name])]
    if figures:
        lines += ["", "## Figures", "", *(f"![{name.removesuffix('.png')}]({name})\n" for name in figures)]
    if recipe.departures or board.notes:
        lines += [
            "",
            "## Departures from the paper, and what is to be known of this board",
            "",
            *filter(None, (recipe.departures, board.notes)),
            "",
        ]
    lines += ["", "## How this was made", "", *made(evidence, recipe)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def claim_rows(claim: Claim, finding: Finding) -> list[str]:
    """A row for the claim and one for each of its points; a claim of one point is one row."""
    verdict = f"**{MARK[finding.verdict]} {finding.verdict.value}**"
    if len(finding.points) == 1:
        return [_row(f"**{claim.text}**: {finding.points[0].where}", finding.points[0], claim.published, verdict)]
    head = [f"| **{claim.text}** | {claim.published} |  |  |  | {verdict} |"]
    return head + [_row(f"· {point.where}", point, "", point.word) for point in finding.points]


def rule_of(claim: Claim, finding: Finding) -> list[str]:
    note = f" {finding.note[:1].upper()}{finding.note[1:].rstrip('.')}." if finding.note else ""
    return [f"- **{claim.name}**: {claim.rule.rstrip('.')}. Source: {claim.source.rstrip('.')}.{note}"]


def summary(findings: Mapping[str, Finding]) -> str:
    """Counts of the verdicts in words.

    >>> summary({"a": Finding([], verdict=Verdict.NOT), "b": Finding([], verdict=Verdict.NOT)})
    '2 claims: 2 not reproduced'
    """
    counts = Counter(finding.verdict for finding in findings.values())
    parts = [f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict]]
    return f"{len(findings)} claim{'s' if len(findings) != 1 else ''}: {', '.join(parts)}"


def made(evidence: Evidence, recipe: Recipe) -> list[str]:
    """The exact commands, how much was computed, with which code and on what."""
    command = f"sparsebench reproduce {recipe.name} --scale {evidence.scale}"
    lines = ["```", command, f"{command} --render   # this page again from the records", "```", ""]
    records = list(evidence.records)
    cells = len(evidence.board.cells)
    lines.append(f"{len(records)} of {cells} cells, seeds {', '.join(map(str, evidence.board.seeds))}.")
    if records:
        where = [record["provenance"] for record in records if record["provenance"]]
        seconds = sum(record["cost"].get("shared_seconds", 0.0) for record in records)
        typed = _several(w["command"] for w in where)
        commits, hardware = _several(_commit(w) for w in where), _several(_hardware(w) for w in where)
        lines.append(f"Computed with {typed} (commit {commits}) in {seconds:.0f} s of work on {hardware}.")
        lines.append(f"{sum(map(_clean, records))} of {len(records)} records pass the audit.")
    return lines


def as_csv(claims: Sequence[Claim], findings: Mapping[str, Finding]) -> str:
    """Every point as a row; a claim without points has one row."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for claim in claims:
        finding = findings[claim.name]
        head = [claim.name, finding.verdict.value]
        for p in finding.points:
            e = p.estimate or Estimate(float("nan"), n=0)
            numbers = [_digits(x) for x in (None if e.value != e.value else e.value, e.low, e.high)]
            writer.writerow([*head, p.where, "" if p.published is None else p.published, *numbers, e.n, p.unit, p.word])
        if not finding.points:
            writer.writerow([*head, finding.note, claim.published, "", "", "", 0, "", ""])
    return out.getvalue()


def _row(text: str, point: Point, published: str, verdict: str) -> str:
    e, unit = point.estimate, f" {point.unit}" if point.unit else ""
    given = f"{point.published}{unit}" if isinstance(point.published, int | float) else point.published or published
    value = "" if e is None else f"{_fixed(e.value, point.digits)}{unit}"
    interval = "" if e is None or e.low is None else f"{_fixed(e.low, point.digits)} to {_fixed(e.high, point.digits)}"
    return f"| {text} | {given} | {value} | {interval} | {e.n if e else ''} | {verdict} |"


def _fixed(number: float, digits: int) -> str:
    """
    >>> _fixed(-0.001, 2), _fixed(-0.01, 2)
    ('0.00', '-0.01')
    """
    return f"{round(number, digits) + 0.0:.{digits}f}"


def _digits(number: float | None) -> str:
    return "" if number is None else f"{number:.6g}"


def _several(values: Any) -> str:
    """Each distinct value once."""
    return "; ".join(f"`{value}`" for value in dict.fromkeys(map(str, values)))


def _commit(where: Mapping[str, Any]) -> str:
    return f"{where.get('commit')}{' with changes' if where.get('dirty') else ''}"


def _hardware(where: Mapping[str, Any]) -> str:
    versions = where.get("versions", {})
    return f"{where.get('hardware')}, torch {versions.get('torch')}, lightning {versions.get('lightning')}"


def _clean(record: Mapping[str, Any]) -> bool:
    return bool(record["audit"]) and all(rule.get("passed") is True for rule in record["audit"])
