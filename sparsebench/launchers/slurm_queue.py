"""Queue: what became of the elements of a Slurm array.

submitit asks ``sacct``, which many small clusters do not have (it needs a database). ``squeue`` is everywhere and
knows a job for some minutes after its end; ``sacct`` comes second.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Any

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "DEADLINE"}
ENDED |= {"PREEMPTED", "REVOKED", "FINISHED", "INTERRUPTED", "GONE"}
"""States in which an element does nothing more. ``GONE``: nobody knows it any longer."""
SQUEUE = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r", "--jobs"]
SACCT = ["sacct", "--noheader", "--allocations", "--parsable2", "--format=JobID,State,Reason", "--jobs"]


def states(elements: Sequence[Any]) -> dict[str, str]:
    """Id of an element -> its state; empty if Slurm does not answer now."""
    if any(type(element).__name__ == "LocalJob" for element in elements):
        return {element.job_id: _local(element) for element in elements}
    array = elements[0].job_id.split("_")[0]
    known = read(_say(SQUEUE, array))
    if known is None:
        return {}
    known = known or read(_say(SACCT, array)) or {}
    return {element.job_id: known.get(element.job_id, "GONE") for element in elements}


def read(answer: str | None) -> dict[str, str] | None:
    """States by id, with the reason of a wait.

    >>> read("7_0|RUNNING|None\\n7_1|PENDING|PartitionTimeLimit\\n7_2|CANCELLED by 0|None\\n")
    {'7_0': 'RUNNING', '7_1': 'PENDING (PartitionTimeLimit)', '7_2': 'CANCELLED'}
    """
    if answer is None:
        return None
    found = {}
    for line in answer.splitlines():
        name, state, reason = line.split("|")[:3]
        state = state.split()[0]
        found[name] = f"{state} ({reason})" if state == "PENDING" and reason != "None" else state
    return found


def _say(command: list[str], array: str) -> str | None:
    """What a command prints: nothing if it does not know the array, None if the controller does not answer."""
    try:
        done = subprocess.run([*command, array], capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        return ""
    except subprocess.TimeoutExpired:
        return None
    if done.returncode and command is SQUEUE and "Invalid job id" not in done.stderr:
        return None
    return "" if done.returncode else done.stdout


def _local(element: Any) -> str:
    """submitit's local executor, whose id is a process; one that another process started has no handle here."""
    state = element.state
    if state == "NO PROCESS AND NO RESULT":
        try:
            os.kill(int(element.job_id), 0)
        except ProcessLookupError:
            return "INTERRUPTED"
        return "RUNNING"
    return state
