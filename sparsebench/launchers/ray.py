"""Ray: jobs as tasks on the nodes of a Ray cluster, each on its share of a node's CPUs and GPUs.

A task hands its job to a crew of processes, which its Ray worker starts for its first job and keeps for the next ones
on the same GPUs. So Ray finds the places, while devices, time limits and dead processes are as with ``--launcher
local``, and Ray's own processes never import torch.
"""

from __future__ import annotations

import platform
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace

import ray
from ray.exceptions import (
    LocalRayletDiedError,
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)

from sparsebench.errors import UsageError
from sparsebench.grid.hardware import visible_gpus
from sparsebench.grid.jobs import Context, Job
from sparsebench.launchers import JobByJob, Outcome
from sparsebench.launchers.attempt import describe
from sparsebench.launchers.local import LocalLauncher
from sparsebench.launchers.nodes import Shared, anywhere, complaint, end, share
from sparsebench.launchers.ray_cluster import Session, check_nodes, nodes, places, share_of_a_node

LOOK_SECONDS = 5.0
"""How often is asked which nodes there are."""


@dataclass(frozen=True)
class Unfit:
    """A node that joined late and may not work on this run."""

    node: str
    why: str


_crews: dict[tuple[Context, tuple[str, ...]], LocalLauncher] = {}
"""In a Ray worker: its crew, by what it was started for."""


class RayLauncher(JobByJob):
    """As many jobs at once as the cluster's nodes hold, at most ``workers``; nodes may come and go.

    ``address``: see ``Session``. ``auto``: on GPUs if a node has one, else on CPUs.

    Raises:
        UsageError: no such cluster; no node is large enough; a node lacks the store, the code or a file of the user.
    """

    def __init__(self, workers: int, context: Context, address: str | None = None, auto: bool = False):
        if context.hardware.nodes > 1:
            raise UsageError(
                f"--nodes {context.hardware.nodes}: with --launcher ray the devices of a cell are on one node; "
                "use --launcher slurm, or torchrun with --launcher torchrun"
            )
        self._workers = workers
        self._running: dict[ray.ObjectRef, tuple[str, Job]] = {}
        self._unfit: set[str] = set()
        self._looked, self._places = -LOOK_SECONDS, 0
        with ExitStack() as started:
            self._shared = share(context)
            started.callback(end, self._shared)
            started.callback(Session(address).leave)
            if auto:
                found = "gpu" if any(node["Resources"].get("GPU") for node in nodes()) else "cpu"
                context = replace(context, hardware=replace(context.hardware, accelerator=found))
            self._context, self._share = anywhere(context), share_of_a_node(context.hardware)
            check_nodes(self._shared, self._share)
            self._started = started.pop_all()
        # By default a Ray worker that was given a GPU ends after its task; this one holds none, its crew does.
        self._task = ray.remote(max_retries=0, max_calls=0, **self._share)(work)

    @property
    def room(self) -> int:
        """One more than the nodes hold: it waits in Ray's queue, so no place idles, and clusters that can grow do."""
        return min(self._workers, self._capacity() + 1) - len(self._running)

    def submit(self, job_id: str, job: Job) -> None:
        fit = {"label_selector": {"ray.io/node-id": f"!in({','.join(self._unfit)})"}} if self._unfit else {}
        self._running[self._task.options(**fit).remote(job_id, job, self._context, self._shared)] = job_id, job

    def finished(self, timeout: float) -> list[Outcome]:
        running = list(self._running)
        ray.wait(running, timeout=timeout)
        ended, _ = ray.wait(running, num_returns=len(running), timeout=0)
        outcomes = [self._outcome(task, *self._running.pop(task)) for task in ended]
        return [outcome for outcome in outcomes if outcome]

    def close(self, kill: bool = False) -> None:
        running, self._running = list(self._running), {}
        for task in running:
            ray.cancel(task, force=True)
        if running:
            ray.wait(running, num_returns=len(running), timeout=10)
        self._started.close()

    def _outcome(self, task: ray.ObjectRef, job_id: str, job: Job) -> Outcome | None:
        """How a job ended; None if it is given to another node."""
        try:
            said = ray.get(task)
        except RayError as error:
            return Outcome(job_id, lost(error))
        if isinstance(said, Outcome):
            return said
        if said.node not in self._unfit:
            print(f"note: {said.why}; it gets no more jobs of this run", file=sys.stderr)
            self._unfit.add(said.node)
        self.submit(job_id, job)
        return None

    def _capacity(self) -> int:
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            fit = [node for node in nodes() if node["NodeID"] not in self._unfit]
            self._places = sum(places(self._share, node["Resources"]) for node in fit)
            self._looked = time.monotonic()
        return self._places


def work(job_id: str, job: Job, context: Context, shared: Shared) -> Outcome | Unfit:
    """Do a job in a Ray worker, by the crew it has; a node that joined late is asked now what it has."""
    if not _crews and (problem := complaint(shared)):
        return Unfit(ray.get_runtime_context().get_node_id(), f"node {platform.node()} of the Ray cluster {problem}")
    crew = _crew(context)
    crew.submit(job_id, job)
    while not (outcomes := crew.finished(timeout=60)):
        pass
    return outcomes[0]


def _crew(context: Context) -> LocalLauncher:
    """The crew for the GPUs that Ray gave to this task; one that has others ends, since a process keeps its GPUs."""
    key = (context, tuple(visible_gpus()))
    if key not in _crews:
        while _crews:
            _crews.popitem()[1].close(kill=True)
        _crews[key] = LocalLauncher(1, context)
    return _crews[key]


def lost(error: RayError) -> str:
    """Why a task gave no outcome, in one line.

    >>> lost(WorkerCrashedError())
    'the Ray worker died; out of memory or killed'
    """
    for kind, text in {
        OutOfMemoryError: "its node ran out of memory and Ray stopped it; fewer --workers, or more --threads a job, "
        "leave more memory to each",
        (NodeDiedError, LocalRayletDiedError): "the node it ran on left the Ray cluster",
        WorkerCrashedError: "the Ray worker died; out of memory or killed",
        TaskCancelledError: "the Ray task was cancelled",
    }.items():
        if isinstance(error, kind):
            return text
    return describe(error.cause if isinstance(error, RayTaskError) and error.cause else error)
