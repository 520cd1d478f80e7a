"""Attempt: a job done in the process that does the work, whatever the launcher."""

from __future__ import annotations

import os
import traceback

from sparsebench.grid.jobs import Busy, Context, Job, perform
from sparsebench.launchers import Outcome


def attempt(job_id: str, job: Job, context: Context) -> Outcome:
    """Do a job; an exception becomes the outcome's error."""
    try:
        perform(job, context)
        return Outcome(job_id)
    except Busy:
        return Outcome(job_id, busy=True)
    except Exception as problem:
        if os.environ.get("SPARSEBENCH_TRACEBACK"):
            traceback.print_exc()
        return Outcome(job_id, describe(problem), getattr(problem, "stage", None))
    finally:
        give_memory_back()


def describe(problem: BaseException) -> str:
    """An exception in one line.

    >>> describe(OSError(28, "No space left on device", "store/stages/x"))
    "OSError: [Errno 28] No space left on device: 'store/stages/x'"
    >>> describe(MemoryError())
    'MemoryError'
    """
    text = " ".join(str(problem).split())
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__


def give_memory_back() -> None:
    """Leave no cached GPU memory to the job of a process beside this one."""
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def prepare(context: Context) -> None:
    """Threads and the user's method files, in the process that does the work."""
    import torch

    from sparsebench.methods import register

    torch.set_num_threads(context.hardware.threads)
    for file in context.method_files:
        register(file)
