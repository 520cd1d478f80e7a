"""Place: where a run computes, from what was typed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from shutil import which
from typing import Any

from sparsebench.cli.accelerator import choose_accelerator, count_gpus
from sparsebench.errors import UsageError
from sparsebench.grid.board import Board
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.trackers import choose
from sparsebench.launchers.slurm_parameters import read_parameters

OPTIONS = {"slurm": ("slurm", "detach", "attach"), "ray": ("ray_address",)}
"""Options that are for one launcher only."""
ONE_AT_A_TIME = ("inline", "torchrun")


def read_hardware(arguments) -> Hardware:
    """Where to run.

    Raises:
        UsageError: a number that must be positive is not, an accelerator that is not there, or a logger that is not.
    """
    for name in ("threads", "workers", "devices", "nodes", "per_device"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}: at least 1 is needed")
    if arguments.checkpoint_seconds < 0:
        raise UsageError(f"--checkpoint-seconds {arguments.checkpoint_seconds:g}: at least 0 is needed")
    if arguments.launcher in ONE_AT_A_TIME and max(arguments.workers or 1, arguments.per_device) > 1:
        raise UsageError(
            f"--launcher {arguments.launcher} does one job at a time: leave out --workers and --per-device"
        )
    if arguments.time_limit is not None and arguments.time_limit <= 0:
        raise UsageError(f"--time-limit {arguments.time_limit:g}: more than 0 seconds are needed")
    if arguments.launcher == "slurm":
        accelerator = accelerator_of_nodes(arguments.accelerator)
    elif arguments.launcher == "ray" and arguments.accelerator == "gpu":
        accelerator = "gpu"  # the nodes', which are asked
    else:
        accelerator = choose_accelerator(arguments.accelerator)
    if accelerator == "gpu" and arguments.launcher in ("local", "torchrun") and arguments.devices > count_gpus():
        raise UsageError(f"--devices {arguments.devices}: this machine has {count_gpus()} visible GPUs")
    if arguments.per_device > 1 and (accelerator == "cpu" or arguments.devices > 1):
        raise UsageError(
            f"--per-device {arguments.per_device}: jobs that share a GPU need --accelerator gpu and --devices 1; "
            "on CPUs say --workers"
        )
    slots = max(1, count_gpus() // arguments.devices * arguments.per_device)
    if accelerator == "gpu" and arguments.launcher == "local" and (arguments.workers or 1) > slots:
        raise UsageError(f"--workers {arguments.workers}: {count_gpus()} GPUs have room for {slots}; see --per-device")
    return Hardware(
        accelerator,
        devices=arguments.devices,
        nodes=arguments.nodes,
        per_device=arguments.per_device,
        threads=arguments.threads,
        checkpoint_seconds=arguments.checkpoint_seconds,
        data_root=arguments.data,
        download=arguments.download,
        loggers=choose(arguments.logger),
        logs=str(Path(arguments.store) / "logs"),
    )


def accelerator_of_nodes(asked: str) -> str:
    """The accelerator of a cluster's nodes, which this machine need not be like.

    Raises:
        UsageError: the user did not say.
    """
    if asked not in ("cpu", "gpu"):
        raise UsageError("--launcher slurm: say --accelerator gpu or cpu; this machine need not be like the nodes")
    return asked


def launcher_options(arguments) -> dict[str, Any]:
    """What only one launcher is told.

    Raises:
        UsageError: it is told to another, or makes no sense.
    """
    for launcher, names in OPTIONS.items():
        for name in names:
            if getattr(arguments, name) and arguments.launcher != launcher:
                raise UsageError(f"--{name.replace('_', '-')} is for --launcher {launcher}")
    if arguments.launcher == "ray":
        return {"address": arguments.ray_address, "auto": arguments.accelerator == "auto"}
    if arguments.launcher != "slurm":
        return {}
    if not arguments.workers:
        raise UsageError("--launcher slurm: say with --workers how many elements the array shall have")
    words = tuple(sys.argv[1:])
    parameters = read_parameters(arguments.slurm or ())
    return {"parameters": parameters, "detach": arguments.detach, "attach": arguments.attach, "command": words}


def default_workers(hardware: Hardware, launcher: str) -> int:
    if launcher == "ray":
        return sys.maxsize  # as many as the cluster's nodes hold
    if hardware.accelerator == "gpu":
        return max(1, count_gpus() // hardware.devices * hardware.per_device)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // (hardware.threads * hardware.devices))


def check_recipes(board: Board, hardware: Hardware) -> None:
    """Refuse what a task's recipe asks for and this machine cannot give.

    Raises:
        UsageError: a global batch that the devices cannot share evenly, or compilation without a compiler.
    """
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    for task in board.tasks:
        if task.recipe.global_batch % hardware.world:
            raise UsageError(
                f"{hardware.world} devices cannot share the global batch of {task.recipe.global_batch} of task "
                f"{task.name} evenly: choose a divisor"
            )
        if task.recipe.compile and hardware.accelerator == "cpu" and not which(compiler):
            raise UsageError(
                f"task {task.name} asks for compile={task.recipe.compile!r}, which needs a C++ compiler, and "
                f"{compiler} is not found: install it, name another one by CXX, or leave compile out"
            )
