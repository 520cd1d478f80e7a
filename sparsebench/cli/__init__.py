"""The command ``sparsebench``. Exit codes: 0 done, 1 a cell failed, 2 the command makes no sense."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; a user's mistake ends in one line, never in a traceback."""
    from sparsebench.cli.parser import parse
    from sparsebench.errors import SparsebenchError, UsageError

    try:
        arguments = parse(sys.argv[1:] if argv is None else list(argv))
        return _dispatch(arguments)
    except UsageError as error:
        return _say(error, 2)
    except SparsebenchError as error:
        return _say(error, 1)
    except KeyboardInterrupt:
        return _say("stopped; what is finished stays, the same command goes on from there", 130)
    except BrokenPipeError:
        return 0


def _dispatch(arguments) -> int:
    from importlib import import_module

    command = arguments.command.replace("list", "listing")
    return import_module(f"sparsebench.cli.{command}").command(arguments)


def _say(message: object, code: int) -> int:
    print(f"sparsebench: {message}", file=sys.stderr)
    return code
