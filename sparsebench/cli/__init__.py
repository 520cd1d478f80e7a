"""The command ``sparsebench``.

Exit codes: 0 done, 1 a cell failed, 2 the command makes no sense, 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jsonargparse import Namespace


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; a user's mistake ends in one line, never in a traceback."""
    with _sigterm() as received:
        return _run(argv, received)


@contextmanager
def _sigterm() -> Iterator[list[int]]:
    """SIGTERM ends a command as Ctrl-C does; what was received is listed. A handler that is there already stays."""
    received: list[int] = []

    def stop(number: int, frame: object) -> None:
        if not received:  # a second one must not interrupt the ending
            received.append(number)
            raise KeyboardInterrupt

    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if mine:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield received
    finally:
        if mine:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run(argv: Sequence[str] | None, received: list[int]) -> int:
    from sparsebench.cli.cycles import uncollected
    from sparsebench.errors import SparsebenchError, UsageError

    try:
        with uncollected():
            command, arguments = _asked(sys.argv[1:] if argv is None else list(argv))
        code = command(arguments)
        sys.stdout.flush()
        if argv is None and "torch" not in sys.modules:
            # The process ends, and what tables and plans leave behind need not go in order; what a training does might.
            gc.freeze()
        return code
    except KeyboardInterrupt:
        rest = "what is finished stays, the same command goes on from there"
        return _say(f"terminated; {rest}", 143) if received else _say(f"stopped; {rest}", 130)
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


def _asked(argv: list[str]) -> tuple[Callable[[Namespace], int], Namespace]:
    """The command that was typed, and its arguments."""
    from importlib import import_module

    from sparsebench.cli.parser import parse

    arguments = parse(argv)
    name = arguments.command.replace("list", "listing")
    return import_module(f"sparsebench.cli.{name}").command, arguments


def _say(message: object, code: int) -> int:
    print(f"sparsebench: {message}", file=sys.stderr)
    return code
