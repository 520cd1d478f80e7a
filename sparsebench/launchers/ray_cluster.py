"""Ray cluster: found or started, and what its nodes have."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sparsebench.errors import UsageError
from sparsebench.grid.hardware import Hardware, visible_gpus
from sparsebench.launchers.attempt import describe
from sparsebench.launchers.nodes import Shared, complaint

UNITS = 10_000
"""Ray counts a resource in parts of so many."""
ANSWER_SECONDS = 120.0
"""How long a node may take to say what it has."""
OBJECTS_BYTES = 100_000_000
"""For the objects of a cluster started here; what is sent are jobs and outcomes, no tensors."""
HOW = (
    "name its head as HOST:PORT by --ray-address ('ray start --head' prints it), with RAY_AUTH_MODE=token in the "
    "environment if it asks for a token; or --ray-address local to start one here"
)


class Session:
    """This process' connection to a cluster; joining and leaving leave its environment as it was.

    The cluster is the one at ``address``, else at ``RAY_ADDRESS``, else one that runs on this machine, else one
    that is started here and ends with the session. A connection that was there already is used and kept.

    Raises:
        UsageError: there is no such cluster, or it runs another version of Ray or Python.
    """

    def __init__(self, address: str | None):
        self._kept, self._before = ray.is_initialized(), dict(os.environ)
        if not self._kept:
            try:
                _join(address or os.environ.get("RAY_ADDRESS"))
            except BaseException:
                self.leave()
                raise

    def leave(self) -> None:
        if self._kept:
            return
        ray.shutdown()
        for name in os.environ.keys() | self._before.keys():
            if name.startswith("RAY_") or name == "PYTHONBREAKPOINT":
                os.environ.pop(name, None)
                if name in self._before:
                    os.environ[name] = self._before[name]


def _join(address: str | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address and address != "local":
        try:
            if address != "auto":
                _reach(address)
            ray.init(address=address, **quiet)
        except (OSError, RuntimeError, ValueError, RayError) as error:
            raise UsageError(f"Ray cluster {address}: {describe(error)}; {HOW}") from None
    elif not address and _runs_here():
        ray.init(**quiet)
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        here = {"num_cpus": cores, "num_gpus": len(visible_gpus()), "object_store_memory": OBJECTS_BYTES}
        ray.init(address="local", include_dashboard=False, **here, **quiet)


def _runs_here() -> bool:
    """Whether the cluster that ``ray start`` noted on this machine is there; the note outlives a crash."""
    note = Path(os.environ.get("RAY_TMPDIR") or "/tmp", "ray", "ray_current_cluster")
    try:
        _reach(note.read_text().strip())
    except (OSError, ValueError):
        return False
    return True


def _reach(address: str) -> None:
    """Raise if nobody listens there: Ray itself would try for minutes and then end the process."""
    host, _, port = address.rpartition(":")
    if "//" in host or not port.isdigit():
        raise ValueError("not of the form HOST:PORT")
    socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def share_of_a_node(hardware: Hardware) -> dict[str, float]:
    """What a job takes of the node it runs on.

    >>> share_of_a_node(Hardware("gpu", per_device=3, threads=2))
    {'num_cpus': 2, 'num_gpus': 0.3333}
    >>> share_of_a_node(Hardware("gpu", devices=4)), share_of_a_node(Hardware("cpu", devices=4))
    ({'num_cpus': 4, 'num_gpus': 4}, {'num_cpus': 4, 'num_gpus': 0})
    """
    gpus: float = 0
    if hardware.accelerator == "gpu":
        gpus = hardware.devices if hardware.per_device == 1 else UNITS // hardware.per_device / UNITS
    return {"num_cpus": hardware.threads * hardware.devices, "num_gpus": gpus}


def places(share: dict[str, float], resources: dict[str, float]) -> int:
    """Jobs that a node holds at once; a part of a GPU is never put together from two.

    >>> places({"num_cpus": 1, "num_gpus": 0.3333}, {"CPU": 16.0, "GPU": 2.0})
    6
    >>> places({"num_cpus": 4, "num_gpus": 4}, {"CPU": 32.0, "GPU": 6.0})
    1
    >>> places({"num_cpus": 2, "num_gpus": 0}, {"CPU": 5.0})
    2
    """
    by_cpu = int(resources.get("CPU", 0) // share["num_cpus"])
    if not share["num_gpus"]:
        return by_cpu
    gpus, part = int(resources.get("GPU", 0)), round(share["num_gpus"] * UNITS)
    return min(by_cpu, gpus * (UNITS // part) if part <= UNITS else gpus * UNITS // part)


def nodes() -> list[dict[str, Any]]:
    """The nodes that are alive now, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]


def check_nodes(shared: Shared, share: dict[str, float]) -> None:
    """Ask every node on which a job has room what it has, before any work.

    Raises:
        UsageError: there is no such node, or one does not answer, or it lacks something; names the remedy.
    """
    large = {node["NodeID"]: node for node in nodes() if places(share, node["Resources"])}
    if not large:
        raise UsageError(
            f"no node of the Ray cluster has {share['num_cpus']} CPUs and {share['num_gpus']:g} GPUs, which a job "
            "takes: choose --devices, --threads, --per-device and --accelerator to fit, or start such a node"
        )
    asked = {}
    for node in large:
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": there}
        asked[ray.remote(**options)(complaint).remote(shared)] = node
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_SECONDS)
    for answer in answered + silent:
        name = "node {NodeManagerHostname} ({NodeManagerAddress}) of the Ray cluster".format_map(large[asked[answer]])
        try:
            problem = ray.get(answer, timeout=0)
        except TimeoutError:
            problem = f"does not answer within {ANSWER_SECONDS:g} s; see 'ray status' and the logs there"
        except TaskUnschedulableError:
            continue  # it has left the cluster meanwhile
        except RayError as error:
            problem = f"cannot run sparsebench as it is here ({describe(getattr(error, 'cause', None) or error)})"
        if problem:
            raise UsageError(f"{name} {problem}")
