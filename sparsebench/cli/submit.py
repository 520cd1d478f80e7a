"""``sparsebench submit FILE --board BOARD``"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from sparsebench.cli.verify import shortened
from sparsebench.errors import UsageError
from sparsebench.methods import parse
from sparsebench.submission.code import is_known, registered
from sparsebench.submission.gather import Entry, NotReady, submit


def command(arguments) -> int:
    if not arguments.board:
        raise UsageError("--board is missing: name the board whose records are submitted, such as --board quick")
    entry = read_entry(arguments)
    if entry.file:
        from sparsebench.cli.check import show
        from sparsebench.submission.contract import check

        report = check(entry.file)
        if not report.passed:
            show(report)
            return 1
    try:
        folder, manifest = submit(entry, arguments.board, arguments.results, arguments.to)
    except NotReady as error:
        for line in shortened(error.problems):
            print(line, file=sys.stderr)
        print("sparsebench: not ready to submit; nothing was written", file=sys.stderr)
        return 1
    mark = ", unverified" if manifest.unverified else ""
    print(f"{folder}: {manifest.cells} records of {', '.join(manifest.methods)}{mark}")
    print(f"look at it:   {folder / 'README.md'}\ncheck it:     sparsebench validate {folder}")
    print(f"then:         git add {folder}, commit, open a pull request (docs/submitting.md)")
    return 0


def read_entry(arguments) -> Entry:
    """What is submitted, from what was typed.

    Raises:
        UsageError: a method that is not known and whose code is not given, or both code and --without-code.
    """
    file, methods = None, []
    for word in arguments.methods:
        path, _, wanted = word.partition(".py:")
        if not (word.endswith(".py") or wanted):
            methods.append(word)
            continue
        given = Path(path + ".py" if wanted else word)
        if arguments.without_code:
            raise UsageError(f"{word}: --without-code is for records without their code; name the methods alone")
        if file not in (None, given):
            raise UsageError(f"{word}: a submission has one method file, and {file} is one already; submit them apart")
        file = given
        methods += _methods_of(given, wanted)
    typed = shlex.join(arguments.methods)
    options = {"authors": tuple(arguments.authors or ()), "paper": arguments.paper or "", "typed": typed}
    name = arguments.name or (file.stem if file else re.sub(r"[^\w.+-]+", "_", methods[0]).strip("_"))
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name):
        raise UsageError(f"--name {name!r}: it becomes a folder; letters, digits and . _ - are wanted")
    if arguments.without_code:
        return Entry(name, tuple(methods), None, True, **options)
    with registered(file):
        for method in methods:
            if file is None and not is_known(method):
                raise UsageError(
                    f"method {method!r} is not known here: give the file that defines it, or --without-code, "
                    "which marks the submission unverified"
                )
        return Entry(name, tuple(dict.fromkeys(parse(method).name for method in methods)), file, **options)


def _methods_of(file: Path, wanted: str) -> list[str]:
    """The methods of a file, without leaving them registered."""
    from sparsebench.methods import from_file

    if not file.is_file():
        raise UsageError(f"{file} is not a file: the Python file of your method is wanted, or the name of a method")
    with registered(file):
        return from_file(str(file), wanted or None)
