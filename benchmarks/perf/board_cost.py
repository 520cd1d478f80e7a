"""What a board costs: trainings, epochs, FLOPs, GPU-hours and gigabytes, with and without shared stages.

    python benchmarks/perf/board_cost.py standard [--tflops T] [--tflops-mixed T] ...

Stages are those of the planner. FLOPs = 6 x multiply-accumulates x images, those of the dense network: masked weights
are multiplied too; networks with units taken out, and small-dense ones, would cost less.

    hours of a training = steps x (max(6 macs batch / sustained FLOP/s / N, launch time) + all-reduce)

on each of the N devices that train a cell together; all-reduce = 2 (N - 1) / N x 4 bytes x parameters / bandwidth.

The sustained FLOP/s and launch times are assumptions (see docs/scaling.md); the counts are not. Scoring, evaluation
and reading of data are not in the hours.
"""

from __future__ import annotations

import argparse
import heapq
from collections import defaultdict
from dataclasses import dataclass
from functools import cache

from sparsebench.grid import board as boards
from sparsebench.grid.plan import Plan, Stage, plan
from sparsebench.metrics.flops import macs
from sparsebench.models import build
from sparsebench.phases import Prune, Rewind, Train
from sparsebench.recipe import epochs_of
from sparsebench.scope import scope_of
from sparsebench.tasks import Task

DATA = {
    "digits": ((1, 8, 8), 10, 1_197),
    "cifar10": ((3, 32, 32), 10, 45_000),
    "cifar100": ((3, 32, 32), 100, 45_000),
    "imagenet": ((3, 224, 224), 1000, 1_271_167),
}
"""Shape of an image, classes, training images without those held out for validation."""
GPUS = (1, 4, 8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Network:
    macs: int
    """Of one image."""
    parameters: int
    prunable: int
    tensors: int
    """Prunable ones: about the number of layers."""


@dataclass(frozen=True)
class Rates:
    """What a GPU is assumed to do."""

    full: float
    """Sustained FLOP/s of large layers in 32 bits."""
    mixed: float
    """The same in mixed precision."""
    step: float
    """Seconds of a step however small the network."""
    layer: float
    """Seconds that each layer adds to it: its kernels are launched one by one."""
    devices: int
    """That train a cell together."""
    bandwidth: float
    """Bytes a second between them."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("board")
    options.add_argument("--tflops", type=float, default=12, help="sustained, 32 bits")
    options.add_argument("--tflops-mixed", type=float, default=50, help="sustained, mixed precision")
    options.add_argument("--step-ms", type=float, default=1.0, help="least time of a step")
    options.add_argument("--layer-ms", type=float, default=0.1, help="least time that a layer adds to a step")
    options.add_argument("--devices", type=int, default=1, help="GPUs that train a cell together (DDP)")
    options.add_argument("--gigabytes", type=float, default=100, help="between those GPUs, a second")
    chosen = options.parse_args()
    rates = Rates(
        chosen.tflops * 1e12,
        chosen.tflops_mixed * 1e12,
        chosen.step_ms / 1e3,
        chosen.layer_ms / 1e3,
        chosen.devices,
        chosen.gigabytes * 1e9,
    )
    whole = plan(boards.load(chosen.board).cells)
    print(f"{len(whole.cells)} cells, {len(whole.stages)} stages\n")
    tell_sharing(whole, rates)
    tell_tasks(whole, rates)
    tell_order(whole, rates)


def tell_sharing(whole: Plan, rates: Rates) -> None:
    """Each stage once, against each cell on its own."""
    shared = list(whole.stages.values())
    apart = [whole.stages[name] for chain in whole.chains.values() for name in chain]
    print(f"{'':10}{'trainings':>12}{'epochs':>14}{'train FLOPs':>14}{'GPU-hours':>12}")
    for name, stages in (("shared", shared), ("unshared", apart)):
        work = sum(epochs(s) * flops_of_epoch(s.task) for s in stages)
        print(
            f"{name:10}{sum(map(trainings, stages)):12,}{sum(map(epochs, stages)):14,}{work:14.2e}"
            f"{sum(gpu_hours(s, rates) for s in stages):12,.0f}"
        )
    print(f"store: {sum(map(stored_bytes, shared)) / 1e9:,.0f} GB of weights and masks\n")


def tell_tasks(whole: Plan, rates: Rates) -> None:
    """A row a task: its network, its step in ms, the hours of the dense training and of all."""
    of_task: dict[str, list[Stage]] = defaultdict(list)
    for stage in whole.stages.values():
        of_task[stage.task.name].append(stage)
    head = ["MMACs", "M params", "work", "launch", "reduce", "dense h", "GPU-hours", "GB"]
    print(f"{'task':20}" + "".join(f"{name:>10}" for name in head))
    for name, stages in of_task.items():
        task, net = stages[0].task, network(stages[0].task)
        dense = task.recipe.epochs * steps_of_epoch(task) * step_seconds(task, rates) / 3600
        sizes = [net.macs / 1e6, net.parameters / 1e6, *(1e3 * part for part in step_parts(task, rates)), dense]
        totals = sum(gpu_hours(s, rates) for s in stages), sum(map(stored_bytes, stages)) / 1e9
        print(f"{name:20}" + "".join(f"{x:10,.2f}" for x in sizes) + "".join(f"{x:10,.0f}" for x in totals))
    print()


def tell_order(whole: Plan, rates: Rates) -> None:
    """The longest chain, how many stages can run at once, and how long so many workers take."""
    cost = {name: hours(stage, rates) for name, stage in whole.stages.items()}
    total, ends = sum(cost.values()), {}
    for name, stage in whole.stages.items():
        ends[name] = cost[name] + max((ends[p] for p in stage.parents), default=0.0)
    last = max(ends, key=ends.get)
    length = 1
    name = last
    while parents := whole.stages[name].parents:
        name = max(parents, key=ends.get)
        length += 1
    roots = sum(not stage.parents for stage in whole.stages.values())
    print(f"longest chain: {length} stages, {ends[last]:,.1f} h ({whole.stages[last].label})")
    print(
        f"ready at the start: {roots:,} stages; work / longest chain: {total / ends[last]:,.0f} workers busy at most\n"
    )
    print(f"{'GPUs':>8}{'hours':>11}{'days':>8}{'busy':>7}")
    for gpus in (count for count in GPUS if count >= rates.devices):
        workers = gpus // rates.devices
        taken = makespan(whole, cost, workers)
        print(f"{gpus:8}{taken:11,.0f}{taken / 24:8,.1f}{100 * total / (workers * taken):6.0f}%")


def makespan(whole: Plan, cost: dict[str, float], workers: int) -> float:
    """Hours until the last stage is done, if a free worker takes the ready stage with the longest way to go."""
    followers: dict[str, list[str]] = defaultdict(list)
    for stage in whole.stages.values():
        for parent in stage.parents:
            followers[parent].append(stage.id)
    way: dict[str, float] = {}
    for name in reversed(whole.stages):
        way[name] = cost[name] + max((way[f] for f in followers[name]), default=0.0)
    waits = {name: len(stage.parents) for name, stage in whole.stages.items()}
    ready = [(-way[name], name) for name, count in waits.items() if not count]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            _, name = heapq.heappop(ready)
            heapq.heappush(running, (now + cost[name], name))
        now, done = heapq.heappop(running)
        for name in followers[done]:
            waits[name] -= 1
            if not waits[name]:
                heapq.heappush(ready, (-way[name], name))
    return now


def trainings(stage: Stage) -> int:
    return sum(isinstance(phase, Train) for phase in stage.phases)


def epochs(stage: Stage) -> int:
    """Those that ``grid/training.py`` runs."""
    total, start = 0, 0.0
    for phase in stage.phases:
        if isinstance(phase, Rewind):
            start = phase.to
        if isinstance(phase, Train):
            whole = epochs_of(stage.task.recipe.epochs, phase.epochs)
            total += epochs_of(whole, phase.until) - epochs_of(whole, start, least=0)
            start = 0.0
    return total


def steps_of_epoch(task: Task) -> int:
    return DATA[task.dataset][2] // task.recipe.global_batch


def flops_of_epoch(task: Task) -> float:
    return 6.0 * network(task).macs * steps_of_epoch(task) * task.recipe.global_batch


def step_parts(task: Task, rates: Rates) -> tuple[float, float, float]:
    """Seconds of a step on each device: arithmetic, launching kernels, adding up gradients."""
    net, speed = network(task), rates.full if task.recipe.precision == "32-true" else rates.mixed
    work = 6.0 * net.macs * task.recipe.global_batch / rates.devices / speed
    reduce = 2 * (rates.devices - 1) / rates.devices * 4 * net.parameters / rates.bandwidth
    return work, rates.step + rates.layer * net.tensors, reduce


def step_seconds(task: Task, rates: Rates) -> float:
    work, launch, reduce = step_parts(task, rates)
    return max(work, launch) + reduce


def hours(stage: Stage, rates: Rates) -> float:
    """From begin to end."""
    return epochs(stage) * steps_of_epoch(stage.task) * step_seconds(stage.task, rates) / 3600


def gpu_hours(stage: Stage, rates: Rates) -> float:
    return hours(stage, rates) * rates.devices


def stored_bytes(stage: Stage) -> int:
    """Weights in 32 bits; masks of one byte a weight, where something is pruned; a rewind point's optimiser."""
    net = network(stage.task)
    pruned = stage.parent is not None or any(isinstance(p, Prune) or getattr(p, "pruner", None) for p in stage.phases)
    states = 1 if stage.task.recipe.optimizer == "sgd" else 2
    return net.parameters * 4 * (1 + states * stage.keeps_optimizer) + net.prunable * pruned


def network(task: Task) -> Network:
    return _network(task.network, task.dataset)


@cache
def _network(name: str, dataset: str) -> Network:
    shape, classes, _ = DATA[dataset]
    net = build(name, shape, classes)
    prunable = scope_of(net).prunable
    return Network(
        macs(net, shape).dense,
        sum(p.numel() for p in net.parameters()),
        sum(w.numel() for w in prunable.values()),
        len(prunable),
    )


if __name__ == "__main__":
    main()
