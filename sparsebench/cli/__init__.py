"""The command ``sparsebench``. Exit codes: 0 done, 1 a cell failed, 2 the command makes no sense."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; a user's mistake ends in one line, never in a traceback."""
    from sparsebench.errors import SparsebenchError, UsageError

    try:
        from sparsebench.cli.parser import parse

        arguments = parse(sys.argv[1:] if argv is None else list(argv))
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _say("stopped; what is finished stays, the same command goes on from there", 130)
    except UsageError as error:
        return _say(error, 2)
    except SparsebenchError as error:
        return _say(error, 1)
    except BrokenPipeError:
        # The reader left (| head); without this the interpreter complains when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _say(f"{error.filename or 'input or output'}: {error.strerror or error}", 1)


def _dispatch(arguments) -> int:
    from importlib import import_module

    command = arguments.command.replace("list", "listing")
    return import_module(f"sparsebench.cli.{command}").command(arguments)


def _say(message: object, code: int) -> int:
    print(f"sparsebench: {message}", file=sys.stderr)
    return code
