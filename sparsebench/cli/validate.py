"""``sparsebench validate FOLDER``"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import Any

from sparsebench.cli.verify import shortened
from sparsebench.errors import SparsebenchError, UsageError
from sparsebench.grid.jobs import Context
from sparsebench.grid.rerun import board_of, cell_of
from sparsebench.grid.run import run
from sparsebench.methods import register
from sparsebench.record import Record
from sparsebench.submission.validation import RULES, Validation, validate


def command(arguments) -> int:
    if arguments.rerun < 0:
        raise UsageError(f"--rerun {arguments.rerun}: at least 0 is needed")
    for file in arguments.methods or ():
        register(file)

    def again(data: Mapping[str, Any], files: tuple[str, ...]) -> list[Record]:
        return compute(data, files, arguments)

    report = validate(
        arguments.folder,
        rerun=arguments.rerun,
        salt=arguments.salt,
        again=again,
        files=tuple(arguments.methods or ()),
    )
    if arguments.json:
        print(json.dumps(report.to_json(), indent=1))
    else:
        show(report)
    return 0 if report.passed else 1


def compute(data: Mapping[str, Any], files: tuple[str, ...], arguments) -> list[Record]:
    """The cell of a record and its dense row, computed in a folder that is deleted afterwards."""
    from sparsebench.cli.rerun import hardware_like

    cell = cell_of(data)
    hardware = hardware_like(data["provenance"], arguments)
    with TemporaryDirectory(prefix="sparsebench-validate-") as store:
        context = Context(store, hardware, "sparsebench " + shlex.join(sys.argv[1:]), files)
        result = run(board_of(cell), context, 1, launcher=arguments.launcher)
    if result.failed:
        raise SparsebenchError(f"computed again, the cell fails: {next(iter(result.failed.values()))}")
    return list(result.records.values())


def show(report: Validation) -> None:
    """How often each rule held, what did not hold, and the verdict."""
    width = max(map(len, RULES))
    for name, (passed, failed) in report.counts.items():
        often = f": {failed} of {passed + failed}" if failed else f" ({passed})"
        print(f"{'FAIL' if failed else 'ok':<5} {name:<{width}}  {RULES[name]}{often}")
    for line in shortened([f"note: {note}" for note in report.notes]):
        print(line)
    for line in shortened([f"FAIL {c.rule}: {c.file}: {reason}" for c in report.failures for reason in c.reasons]):
        print(line)
    print(verdict(report))


def verdict(report: Validation) -> str:
    """The last line.

    >>> verdict(Validation("submissions", records=3))
    'valid: 3 records'
    """
    failed = len(report.failures)
    return f"{f'NOT VALID: {failed} checks failed on' if failed else 'valid:'} {report.records} records"
