"""``sparsebench check FILE``"""

from __future__ import annotations

import json
from dataclasses import asdict

from sparsebench.cli.verify import shortened
from sparsebench.submission.rule import Report, Verdict

MARKS = {"passed": "ok", "failed": "FAIL", "skipped": "--", "n/a": ""}


def command(arguments) -> int:
    from sparsebench.submission.contract import check

    report = check(arguments.file, cells=not arguments.no_cells)
    if arguments.json:
        said = {"file": report.file, "passed": report.passed, "methods": report.methods}
        print(json.dumps({**said, "verdicts": [asdict(v) for v in report.verdicts]}, indent=1))
    else:
        show(report)
    return 0 if report.passed else 1


def show(report: Report) -> None:
    """Rule by rule, under the name of what it was held against; what does not apply is left out."""
    subject = None
    width = max(len(verdict.rule) for verdict in report.verdicts)
    for verdict in report.verdicts:
        if verdict.state == "n/a":
            continue
        if verdict.subject != subject:
            subject = verdict.subject
            print(f"{subject}:")
        for line in lines(verdict, width):
            print(line)
    print(last_line(report))


def lines(verdict: Verdict, width: int) -> list[str]:
    """A verdict as text: the rule, what is wrong, what to do."""
    note = f" ({verdict.note})" if verdict.note else ""
    first = f"  {MARKS[verdict.state]:<4}  {verdict.rule:<{width}}  {verdict.what}{note}"
    indent = " " * (width + 10)
    wrong = [f"{indent}{fault}" for fault in verdict.faults]
    return shortened([first, *wrong, *([f"{indent}-> {verdict.remedy}"] if verdict.remedy else [])])


def last_line(report: Report) -> str:
    """The verdict, and what to do next.

    >>> last_line(Report("my_method.py", ["my_method"]))
    'passed: my_method. Next: sparsebench run quick --methods my_method.py'
    """
    if report.passed:
        return f"passed: {', '.join(report.methods)}. Next: sparsebench run quick --methods {report.file}"
    failed = dict.fromkeys(verdict.rule for verdict in report.failures)
    return f"NOT PASSED: {', '.join(failed)}"
