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
    drawn = {f.name: f.draw(evidence, folder / f"{evidence.stem}-{f.name}") for f in recipe.figures}
    figures = [paths[0].name for paths in drawn.values() if paths]
    page = write_atomic(folder / f"{evidence.stem}.md", markdown(recipe, evidence, findings, figures))
    table = write_atomic(folder / f"{evidence.stem}.csv", as_csv(recipe.claims, findings))
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
        *(
            ["", f"**Measured with `{evidence.instead}`**: the second data set in place of the paper's."]
            * bool(evidence.instead)
        ),
        "",
        *table([overview(claim, findings[claim.name]) for claim in recipe.claims]),
        "",
        "## Claim by claim",
        "",
    ]
    for claim in recipe.claims:
        lines += section(claim, findings[claim.name])
    if figures:
        lines += ["## Figures", "", *(f"![{name.removesuffix('.png')}]({name})\n" for name in figures), ""]
    known = [*filter(None, (recipe.departures, board.notes))]
    if known:
        lines += ["## Departures from the paper, and what is to be known of this board", "", "\n\n".join(known), ""]
    lines += ["## How this was made", "", *made(evidence, recipe)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


HEADER = ["claim", "published", "measured", "95 % interval", "seeds", "verdict"]


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> list[str]:
    """A pipe table."""
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]


def overview(claim: Claim, finding: Finding) -> list[str]:
    """The line of a claim: its one point, or how many of its points hold."""
    verdict = f"**{MARK[finding.verdict]} {finding.verdict.value}**"
    if len(finding.points) == 1:
        return [claim.text, *_numbers(finding.points[0], claim.published), verdict]
    words = Counter(point.word for point in finding.points)
    apart = ", ".join(f"{words[word]} {word}" for word in ("refuted", "undecided") if words[word])
    tested = len(finding.points) - words[Verdict.UNTESTABLE.value]
    held = f"{words['holds']} of {tested} points hold" + (f" ({apart})" if apart else "") if tested else ""
    numbers = sum(isinstance(point.published, int | float) for point in finding.points)
    given = claim.published or ("1 number" if numbers == 1 else f"{numbers} numbers" if numbers else "")
    return [claim.text, given, held, "", "", verdict]


def section(claim: Claim, finding: Finding) -> list[str]:
    """Rule, source, remarks and points of a claim."""
    lines = [f"### {claim.name}", "", f"{claim.text}. {MARK[finding.verdict]} {finding.verdict.value}.", ""]
    lines += [f"- Rule: {_sentence(claim.rule)}", f"- Source: {_sentence(claim.source)}"]
    lines += [f"- {_sentence(finding.note)}"] if finding.note else []
    rows = [[point.where, *_numbers(point, ""), point.word] for point in finding.points]
    return [*lines, "", *(table(rows, ["where", *HEADER[1:-1], "point"]) if rows else []), ""]


def _sentence(text: str) -> str:
    """With a capital and a full stop.

    >>> _sentence("as before")
    'As before.'
    """
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


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
    command += f" --instead {evidence.instead}" if evidence.instead else ""
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


def _numbers(point: Point, published: str) -> list[str]:
    """Published and measured value, interval and seeds."""
    e, unit = point.estimate, f" {point.unit}" if point.unit else ""
    given = f"{point.published}{unit}" if isinstance(point.published, int | float) else point.published or published
    if e is None:
        return [given, "", "", ""]
    interval = "" if e.low is None else f"{_fixed(e.low, point.digits)} to {_fixed(e.high, point.digits)}"
    return [given, f"{_fixed(e.value, point.digits)}{unit}", interval, str(e.n)]


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
