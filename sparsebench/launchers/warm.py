"""Warm: imported once by the process that workers of this machine are forked from, so that they start at once.

Nothing here may start threads, draw random numbers or touch an accelerator: each worker is a copy of it.
"""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def leave_with(parent: int) -> None:
    """From now on end when the parent ends, at once: in the middle of the imports too, without taking them apart."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


# Not set where something else imports this module.
if started_by := os.environ.pop("SPARSEBENCH_PARENT", None):
    leave_with(int(started_by))

import sparsebench.grid.finish  # noqa: E402
import sparsebench.grid.stages  # noqa: E402, F401
