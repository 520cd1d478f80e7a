"""Parameters of Slurm jobs: what the user says, what the hardware of a cell asks for, and what submitit gets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import ceil
from types import ModuleType
from typing import Any

from sparsebench.errors import UsageError, unknown
from sparsebench.grid.hardware import Hardware

GENERIC = ("name", "timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node")
"""submitit's words for all its executors; those of Slurm alone carry a prefix there."""
OURS = {"nodes": "--nodes", "tasks_per_node": "--devices", "ntasks_per_node": "--devices", "dependency": "--detach"}
"""What follows from other options."""
SHARED = ("partition", "account", "qos", "wckey", "setup", "teardown", "comment", "mail_type", "mail_user")
"""What the job that publishes takes over from the elements; it needs no GPU and little memory."""
PUBLISHING_MINUTES = 60
TEAM = ("--distribution=block", "--kill-on-bad-exit=1")
"""Ranks of a team: node after node, and none waits for one that died."""


def submitit() -> ModuleType:
    """The package.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import submitit
        import submitit.helpers
    except ModuleNotFoundError as error:
        raise UsageError(f"--launcher slurm needs the package {error.name}: pip install 'sparsebench[slurm]'") from None
    return submitit


def read_parameters(words: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` words; a value is JSON if it can be read as such, else text.

    Raises:
        UsageError: not such a word, a key that submitit does not know, or no time limit.
    """
    known = {*GENERIC, *submitit().SlurmExecutor._valid_parameters(), "cluster"} - OURS.keys()
    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise UsageError(f"--slurm {word!r}: KEY=VALUE is needed, such as partition=gpu")
        if key in OURS:
            raise UsageError(f"--slurm {key}: follows from {OURS[key]}")
        if key not in known:
            error = unknown("parameter of --slurm", key, known, ", ".join(sorted(known)))
            raise UsageError(f'{error}; any other option of sbatch: additional_parameters={{"reservation": "x"}}')
        found[key] = _value(text)
    if "time" in found:
        found["timeout_min"] = minutes(str(found.pop("time")))
    if "timeout_min" not in found:
        raise UsageError("--slurm: say how long an element may live, such as time=4:00:00")
    if isinstance(found.get("setup"), str):
        found["setup"] = [found["setup"]]
    return found


def minutes(time: str) -> int:
    """Slurm's ways to write a time limit, in whole minutes, rounded up.

    >>> [minutes(time) for time in ("90", "30:00", "4:00:00", "2-12", "1-0:30")]
    [90, 30, 240, 3600, 1470]

    Raises:
        UsageError: none of them.
    """
    days, dash, rest = time.rpartition("-")
    try:
        parts = [int(part) for part in rest.split(":")]
        if not 1 <= len(parts) <= 3:
            raise ValueError
        if dash:
            hours, mins, seconds = [*parts, 0, 0][:3]
            total = int(days) * 1440 + hours * 60 + mins + seconds / 60
        else:
            hours, mins, seconds = parts if len(parts) == 3 else (0, *parts, 0)[:3]
            total = hours * 60 + mins + seconds / 60
        if total <= 0:
            raise ValueError
    except ValueError:
        raise UsageError(f"--slurm time={time}: minutes, hours:minutes:seconds or days-hours are needed") from None
    return ceil(total)


def for_elements(hardware: Hardware, asked: dict[str, Any]) -> dict[str, Any]:
    """What submitit's ``AutoExecutor`` gets for the elements of the array.

    On one node an element is one task, whose worker processes are its own; on several it is a task a device.
    """
    team = hardware.nodes > 1
    chosen = {
        "name": "sparsebench",
        "nodes": hardware.nodes,
        "tasks_per_node": hardware.devices if team else 1,
        "cpus_per_task": hardware.threads * (1 if team else hardware.devices * hardware.per_device),
    }
    if hardware.accelerator == "gpu" and not asked.keys() & {"gres", "gpus_per_task"}:
        chosen["gpus_per_node"] = hardware.devices
    chosen |= {_name(key): value for key, value in asked.items()}
    # Since Slurm 22.05 srun does not take the CPUs of a task over from sbatch.
    step = [f"--cpus-per-task={chosen['cpus_per_task']}", *(TEAM if team else [])]
    chosen["slurm_srun_args"] = [*step, *asked.get("srun_args", [])]
    return chosen


def for_publishing(asked: dict[str, Any], array: str) -> dict[str, Any]:
    """What it gets for the job that publishes when the array has ended, however that was."""
    return {
        "name": "sparsebench-publish",
        "timeout_min": min(asked["timeout_min"], PUBLISHING_MINUTES),
        "nodes": 1,
        "tasks_per_node": 1,
        "cpus_per_task": 1,
        "slurm_dependency": f"afterany:{array}",
        **{_name(key): asked[key] for key in SHARED if key in asked},
    }


def _name(key: str) -> str:
    return key if key in GENERIC else f"slurm_{key}"


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
