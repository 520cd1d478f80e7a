"""Page: docs/known_bugs.md as the catalogue gives it; ``python -m tests.mutants.page`` writes it."""

from __future__ import annotations

from tests.mutants.catalogue import MUTANTS, THEMES
from tests.mutants.mutant import Mutant
from tests.mutants.sandbox import ROOT

PAGE = ROOT / "docs" / "known_bugs.md"

HEAD = """# Known bugs

Mistakes that pruning code really makes, each made on purpose in a copy of this package, and the tests that fail because
of it. {count} of them; names such as `owner/repository#47` are issues where the mistake was reported.

```console
pytest -m mutants -v
```

runs them all. A mutant is a changed line or two (`tests/mutants/pack/`); it is *killed* when of every name in the last
column at least one test fails, while all of them pass on the code as it is. A test that breaks down (an import, a
name, a type) is no kill. *Rule* is the rule of the audit (see [architecture.md](architecture.md)) that does not hold of
a cell with this mistake; whether the cell's own audit can see that depends on what it shares with the code that is
wrong, so tests must.

This page is written by `python -m tests.mutants.page` and compared with the code by a test.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD.format(count=len(MUTANTS))]
    for theme, mutants in THEMES.items():
        parts.append(f"## {theme}\n")
        parts.append("| bug | seen in the field | what it does to a number | rule | killed by |")
        parts.append("| --- | --- | --- | --- | --- |")
        parts.extend(map(row, mutants))
        parts.append("")
    return "\n".join(parts)


def row(mutant: Mutant) -> str:
    """One mutant as a line of the table."""
    tests = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in mutant.killed_by)
    rule = "" if mutant.rule is None else mutant.rule
    return f"| {mutant.name.replace('_', ' ')} | {mutant.seen} | {mutant.effect} | {rule} | {tests} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
