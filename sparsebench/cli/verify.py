"""``sparsebench verify DIR``"""

from __future__ import annotations

import json

from sparsebench.verify import RULES, Report, verify

SHOWN = 20


def command(arguments) -> int:
    report = verify(arguments.folder, arguments.store, measure=arguments.measure, data_root=arguments.data)
    if arguments.json:
        print(json.dumps(report.to_json(), indent=1))
    else:
        show(report)
    return 0 if report.passed else 1


def show(report: Report) -> None:
    """How often each rule held, what did not hold, and the verdict."""
    from rich.console import Console
    from rich.table import Table

    table = Table("rule", "what", box=None)
    for name in ("passed", "failed"):
        table.add_column(name, justify="right")
    for rule, (passed, failed) in report.counts.items():
        table.add_row(rule, RULES[rule], str(passed), f"[red]{failed}[/]" if failed else "0")
    Console().print(table)
    for line in shortened([f"note: {note}" for note in report.notes]):
        print(line)
    for line in shortened([f"FAIL {c.rule}: {c.file}: {reason}" for c in report.failures for reason in c.reasons]):
        print(line)
    print(verdict(report))


def shortened(lines: list[str]) -> list[str]:
    """At most ``SHOWN`` lines, and how many more there are; what a file says shall not steer a terminal.

    >>> shortened(["a\\x1b[2Jb"])
    ['a?[2Jb']
    """
    shown = ["".join(c if c.isprintable() else "?" for c in line) for line in lines[:SHOWN]]
    more = len(lines) - SHOWN
    return shown if more <= 0 else [*shown, f"and {more} more (all of them: --json)"]


def verdict(report: Report) -> str:
    """The last line.

    >>> verdict(Report("results", records=3))
    'verified: 3 records'
    """
    what = f"{report.records} records" + (f" and {report.stages} stages" if report.stages else "")
    failed = len(report.failures)
    if not failed:
        return f"verified: {what}"
    return f"NOT VERIFIED: {failed} of {len(report.checks)} checks failed on {what}"
