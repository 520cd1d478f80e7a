"""leaderboard.tex: the overall table and one table a task, for a paper (booktabs)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from sparsebench.report.cells import LEGEND, NONE, Cell, Grid, overall_grid
from sparsebench.report.table import DENSE, records

if TYPE_CHECKING:
    from sparsebench.report import Standing

FEW = 40
"""Rows that fit on a page; longer tables run over pages (longtable)."""

_SIGNS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "'": r"\textquotesingle{}", "`": r"\textasciigrave{}",
    "±": r"$\pm$", "≈": r"$\approx$", "×": r"$\times$", "↓": r"$\downarrow$", "†": r"$^\dagger$", "…": "--",
    "–": "--", "−": "$-$", "≤": r"$\leq$", "≥": r"$\geq$", "·": r"$\cdot$", "Δ": r"$\Delta$", "→": r"$\to$",
}  # fmt: skip
_MARKS = {"code": r"\texttt{{{}}}", "best": r"\textbf{{{}}}", "tie": r"$\approx$\,{}"}


def escape(text: str) -> str:
    r"""Text that LaTeX prints as it is; a character that LaTeX may not know becomes a question mark.

    >>> print(escape("random/erk@init_2 50 % ± 1"))
    random/erk@init\_2 50 \% $\pm$ 1
    """
    return "".join(_SIGNS.get(char, char if char.isascii() and char.isprintable() else "?") for char in text)


def tables(standing: Standing) -> str:
    """All tables; the methods that have no rank stand below a line."""
    board = standing.board
    ranked = set(standing.summary.loc[standing.summary["rank"].notna(), "method"])
    name = escape(board["title"])
    parts = [
        f"% {board['name']} v{board['version']}: made by sparsebench report {board['name']} --format tex".replace(
            "\n", " "
        ),
        "% In the preamble: \\usepackage{booktabs,longtable,textcomp} \\usepackage[T1]{fontenc}",
        table(
            overall_grid(standing.summary),
            f"{name}: average rank over every task, sparsity and seed with its 95\\,\\% interval (1 = best), and the "
            "drop of top-1 accuracy from the dense network in percentage points. Below the line: not ranked.",
            f"{board['name']}-overall",
            ranked,
        ),
    ]
    for task, grid in standing.grids.items():
        caption = f"{name}, \\texttt{{{escape(task)}}}: top-1 accuracy (\\%) by sparsity. {_legend(grid)}"
        rows = records(standing.rows[(standing.rows["task"] == task) & (standing.rows["method"] != DENSE)])
        complete = {row["method"] for row in rows} - {row["method"] for row in rows if row["state"] != "ranked"}
        parts.append(table(grid, caption, f"{board['name']}-{task}", complete))
    return "\n\n".join(parts) + "\n"


def table(grid: Grid, caption: str, label: str, ranked: set[str]) -> str:
    """One table: ``caption`` is LaTeX already, ``label`` and the grid are text."""
    columns = "l" + "r" * (len(grid.header) - 1)
    heading = " & ".join(map(escape, grid.header)) + r" \\"
    body = [" & ".join(map(_styled, row)) + r" \\" for row in grid.rows]
    lines = [r"\midrule", *body[:1]]
    for (before, after), line in zip(pairwise(grid.rows), body[1:], strict=True):
        if before[0].text in ranked and after[0].text not in ranked:
            lines.append(r"\midrule")
        lines.append(line)
    about = [rf"\caption{{{caption}}}", rf"\label{{tab:{''.join(c for c in label if c.isalnum() or c in '-.:')}}}"]
    if len(grid.rows) > FEW:
        about = [about[0] + about[1] + r"\\"]
        top = [rf"\begin{{longtable}}{{{columns}}}", *about, r"\toprule", heading, r"\midrule", r"\endhead"]
        return "\n".join([r"{\small", *top, r"\bottomrule", r"\endfoot", *lines[1:], r"\end{longtable}}"])
    top = [r"\begin{table}", r"\centering", r"\small", *about, rf"\begin{{tabular}}{{{columns}}}", r"\toprule", heading]
    return "\n".join([*top, *lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _styled(cell: Cell) -> str:
    text = escape(cell.text)
    return _MARKS[cell.mark].format(text) if cell.mark in _MARKS and cell.text != NONE else text


def _legend(grid: Grid) -> str:
    """Explains only the signs that occur."""
    texts = "".join(cell.text + ("≈" if cell.mark == "tie" else "") for row in grid.rows for cell in row[1:])
    signs = [
        f"{'(n)' if sign == '(' else escape(sign)}: {escape(meaning)}."
        for sign, meaning in LEGEND.items()
        if sign in texts
    ]
    return " ".join([r"Bold: the best mean.", *signs])
