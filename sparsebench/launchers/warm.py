"""Warm: imported once by the process that workers of this machine are forked from, so that they start at once.

Nothing here may start threads, draw random numbers or touch an accelerator: each worker is a copy of it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any

PR_SET_PDEATHSIG = 1


def leave_with(parent: int) -> None:
    """From now on end when the parent ends, at once: in the middle of the imports too, without taking them apart."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def tell(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """What ends the start of a worker; not where Ctrl-C came between its birth and the news of what it is to do."""
    if not issubclass(kind, EOFError):
        sys.__excepthook__(kind, error, trace)


# Not set where something else imports this module.
if started_by := os.environ.pop("SPARSEBENCH_PARENT", None):
    leave_with(int(started_by))
    sys.excepthook = tell

import sparsebench.grid.finish  # noqa: E402
import sparsebench.grid.stages  # noqa: E402, F401
