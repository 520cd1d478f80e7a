"""Words: what the docstrings of a registered function say, taken apart: title, formula, definition, sources."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from inspect import cleandoc

from sparsebench.registry import Entry

_SOURCE = re.compile(r'(?:^|\s)Sources?:\s+(.*?[)\d"])\.(?=\s|$)', re.DOTALL)
_PAPER = re.compile(r"(?<![\d.])(\d{4}\.\d{4,5})(?![\d.]*\d)")
_EQUATION = re.compile(r"^\w[\w\[\] ]*[=~] ?\S")
_ITEM = re.compile(r"\n(?=\d\. )")


@dataclass(frozen=True)
class Words:
    """What is said of a criterion, regime or modifier."""

    title: str
    tagline: str
    formula: tuple[str, ...]
    """Lines as they are written; empty where there is none."""
    definition: tuple[str, ...]
    """Paragraphs, without formula and sources."""
    sources: tuple[str, ...]
    papers: tuple[str, ...]
    """arXiv numbers, the decorator's first."""


def words(entry: Entry) -> Words:
    """Read the module's and the function's docstring from the syntax tree; the file is not imported.

    The formula is what is indented, else a line such as ``score = |w|``, else the expression that the function
    returns, where that is all it does.
    """
    tree = ast.parse(entry.path.read_text(encoding="utf-8"))
    function = next(n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.lineno == entry.line)
    own = _without_doctest(ast.get_docstring(function) or "")
    # Not cleaned: a module's docstring begins at the margin, and cleaning would take the indent off a formula.
    file = (ast.get_docstring(tree, clean=False) or "") if not own or _alone(tree, entry) else ""
    found = [p for text in (file, own) for p in re.split(r"\n\s*\n", text.strip("\n"))]
    paragraphs = [p for p in found if p.strip() and not p.lstrip().startswith(("Args:", "Returns:", "Raises:"))]
    first, *rest = paragraphs or [entry.name]
    if _EQUATION.match(first):
        first, rest = entry.name, [first, *rest]
    title, tagline = _headline(entry.name, _line(first))
    formula = [p for p in rest if _is_formula(p)]
    prose = [_ITEM.split(p) for p in rest if not _is_formula(p)]
    sources = [_line(found) for text in paragraphs for found in _SOURCE.findall(text)]
    definition = [_line(_SOURCE.sub("", p)) for items in prose for p in items]
    papers = [entry.traits.get("paper"), *_PAPER.findall(" ".join(sources))]
    return Words(
        title,
        tagline,
        tuple(line for p in formula for line in cleandoc("\n" + p).splitlines()) or _returned(function, entry.kind),
        tuple(filter(None, definition)),
        tuple(sources),
        tuple(dict.fromkeys(filter(None, papers))),
    )


def _without_doctest(doc: str) -> str:
    return doc.partition(">>>")[0].strip()


def _alone(tree: ast.Module, entry: Entry) -> bool:
    """Whether it is the only one of its kind in the file, so that the file's docstring speaks of it."""
    decorators = [d for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) for d in n.decorator_list]
    functions = [d.func if isinstance(d, ast.Call) else d for d in decorators]
    return sum(ast.unparse(f).rpartition(".")[2] == entry.kind for f in functions) == 1


def _headline(name: str, line: str) -> tuple[str, str]:
    """``LAMP: magnitude relative to ...`` as title and tagline.

    >>> _headline("lamp", "LAMP: magnitude in its layer."), _headline("mine", "Change of the loss.")
    (('LAMP', 'magnitude in its layer.'), ('mine', 'Change of the loss.'))
    """
    title, colon, tagline = line.partition(": ")
    if colon and len(title.split()) <= 4:
        return title, tagline
    return name, "" if line == name else line


def _is_formula(paragraph: str) -> bool:
    lines = [line for line in paragraph.splitlines() if line.strip()]
    return all(line.startswith("    ") for line in lines) or bool(len(lines) == 1 and _EQUATION.match(lines[0]))


def _line(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def _returned(function: ast.FunctionDef | ast.ClassDef, kind: str) -> tuple[str, ...]:
    if kind != "criterion":
        return ()
    body = [n for n in function.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
    if len(body) == 1 and isinstance(body[0], ast.Return) and body[0].value is not None:
        return (f"score = {ast.unparse(body[0].value)}",)
    return ()
