"""Check: the contract of the suite, held against a user's file."""

from __future__ import annotations

from pathlib import Path

from sparsebench.errors import UsageError
from sparsebench.methods import from_file
from sparsebench.submission import file_rules
from sparsebench.submission.code import forgotten
from sparsebench.submission.rule import Report


def check(file: str | Path, *, cells: bool = True) -> Report:
    """Hold every rule against a file of criteria, regimes and modifiers; all that fails is reported, not the first.

    Args:
        cells: also train a small cell of every method, about a second each.

    Raises:
        UsageError: there is no such file.
    """
    path = Path(file).resolve()
    if not path.is_file():
        raise UsageError(f"{file} is not a file: the Python file of your method is wanted (sparsebench new makes one)")
    if path.suffix != ".py":
        raise UsageError(f"{file} is not a Python file: the file of your method is wanted, such as my_method.py")
    with forgotten(path):
        return _check(Report(str(file)), path, cells)


def _check(report: Report, path: Path, cells: bool) -> Report:
    source = file_rules.Source(path)
    report.look(file_rules.RULES, source, path.name)
    failed = {verdict.rule for verdict in report.failures}
    if failed & {"file", "literals", "names", "imports"}:
        return report
    functions_held = [_look_at(entry.kind, entry.name, path, report) for entry in source.entries]
    if "methods" not in failed:
        report.methods = from_file(str(path))
        if cells and all(functions_held):
            from sparsebench.submission import cell_rule

            for text in report.methods:
                report.look(cell_rule.RULES, cell_rule.Written(text, path), text)
    return report


def _look_at(kind: str, name: str, path: Path, report: Report) -> bool:
    """Hold the rules of its kind against one function; a solver is looked at with its criterion."""
    if kind == "criterion":
        from sparsebench.submission import score_rules

        return report.look(score_rules.RULES, score_rules.Scored(name, path), name)
    from sparsebench.submission import phase_rules

    rules = {"regime": phase_rules.REGIME_RULES, "modifier": phase_rules.MODIFIER_RULES}.get(kind, ())
    return report.look(rules, phase_rules.Listed(name, path), name)
