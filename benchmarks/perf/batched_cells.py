"""Batched cells: many small cells of one architecture trained as one program, against what a board does now. A trial.

    python benchmarks/perf/batched_cells.py [--networks N ...] [--threads N ...] [--rounds R] [--store DIR]

Eight cells that differ in weights, masks and batches take so many masked steps. Rivals, all without Lightning:

    one after the other  in one process
    two processes        four cells each, one after the other, one thread: how a board runs on two cores
    vmap                 stack_module_state and vmap over the network
    by hand              every layer replaced by one of all cells: bmm for Linear, groups for Conv2d

The first is of one thread; the batched ones, and the first again, of each ``--threads``. Two workers could each run a
batched program of one thread, so the gain of a board over what it does now is that of one thread, or of two threads
over two processes. Threads wait by spinning: give ``--threads 2`` only on a machine that does nothing else.

Rule: kept only if a real board becomes at least 1.5x faster, equal to separate runs within float tolerance, and the
code stays simple. ``--store`` names the store of a finished quick board: printed is how fast that board would become
if all trainings that have equals anywhere on it went as fast as measured here. That is more than could be had: equals
are not ready at the same time, and mask updates, records and resuming remain each cell's own.

Measured on two cores of an AMD EPYC virtual machine, torch 2.15, `--rounds 5` (the last four networks: 4), while other
work was using it (load 3 to 5), so that two processes had no second core; ratios to one after the other within rounds,
all of one thread, median (quartiles):

    network          vmap                    by hand                 largest difference in 32 / 64 bits (by hand)
    digits-mlp       0.55x (0.45 to 0.62)    0.59x (0.47 to 0.80)    7e-8 / 1e-16
    lenet-300-100    1.05x (0.99 to 1.56)    1.01x (0.99 to 1.46)    1e-7 / 1e-16
    small-cnn        2.00x (1.50 to 2.14)    1.51x (1.27 to 1.79)    1e-7 / 2e-16
    digits-resnet8   1.37x (1.22 to 1.50)    0.91x (0.81 to 1.20)    6e-5 / 5e-16
    digits-vgg       1.28x (0.79 to 1.51)    0.80x (0.49 to 0.91)    4e-7 / 3e-16
    digits-vit       1.02x (0.98 to 1.17)    -                       1e-6 / 8e-14 (vmap)
    resnet8-32x32    2.32x (1.94 to 2.82)    1.81x (1.65 to 2.32)    6e-4 / 2e-16

Of the quick board's 521 s of stages (an earlier run) the perceptron's trainings are 37 s: with them for nothing the
board would be 1.08x as fast, with the best figure of every network 1.11x. Below 1.5x: dropped. See NOTES.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path
from statistics import median

import torch
from side_by_side import report, side_by_side
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.functional import cross_entropy

from sparsebench.allocation import kept_count
from sparsebench.models import build
from sparsebench.models.classifier import make_optimizer
from sparsebench.recipe import Recipe
from sparsebench.scope import scope_of
from sparsebench.tasks import TASKS

CELLS, BATCH, CLASSES = 8, 128, 10


def small_cnn(channels: int = 1) -> nn.Module:
    """Two convolutions and a classifier, [B, 1, 28, 28] -> [B, 10]."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 7 * 7, CLASSES),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int], Recipe, int]] = {
    "digits-mlp": (lambda: build("mlp", (1, 8, 8), CLASSES), (1, 8, 8), TASKS["digits-mlp"].recipe, 60),
    "lenet-300-100": (lambda: build("lenet_300_100", (1, 28, 28), CLASSES), (1, 28, 28), TASKS["mnist-mlp"].recipe, 20),
    "small-cnn": (small_cnn, (1, 28, 28), TASKS["mnist-mlp"].recipe, 4),
    "digits-resnet8": (lambda: build("resnet8", (1, 8, 8), CLASSES), (1, 8, 8), TASKS["digits-resnet8"].recipe, 8),
    "digits-vgg": (lambda: build("vgg8", (1, 8, 8), CLASSES), (1, 8, 8), TASKS["digits-vgg"].recipe, 8),
    "digits-vit": (lambda: build("vit_digits", (1, 8, 8), CLASSES), (1, 8, 8), TASKS["digits-vit"].recipe, 4),
    "resnet8-32x32": (lambda: build("resnet8", (3, 32, 32), CLASSES), (3, 32, 32), TASKS["cifar10-resnet20"].recipe, 2),
}
"""How to build a network, its input, its recipe, and the steps of a round."""


class Problem:
    """Networks of one architecture with their masks and batches, drawn for a range of cells."""

    def __init__(self, name: str, cells: Iterable[int], steps: int | None = None, dtype: torch.dtype = torch.float32):
        make, shape, self.recipe, usual = NETWORKS[name]
        self.nets, self.masks, self.x, self.y = [], [], [], []
        for cell in cells:
            torch.manual_seed(cell)
            net = make().to(dtype)
            self.x.append(torch.randn(steps or usual, BATCH, *shape, dtype=dtype))
            self.y.append(torch.randint(CLASSES, (steps or usual, BATCH)))
            self.masks.append({n: random_mask(w, 0.5 + cell / 20) for n, w in scope_of(net).prunable.items()})
            with torch.no_grad():
                for n, mask in self.masks[-1].items():
                    net.get_parameter(n).mul_(mask)
            self.nets.append(net.train())


def random_mask(weight: Tensor, sparsity: float) -> Tensor:
    """1 for kept weights, 0 for the others."""
    kept = torch.randperm(weight.numel())[: kept_count(1 - sparsity, weight.numel())]
    return torch.zeros_like(weight).flatten().index_fill(0, kept, 1.0).view(weight.shape).detach()


def step(loss: Tensor, optimizer: torch.optim.Optimizer, weights: list[Tensor], masks: list[Tensor]) -> None:
    """One step that keeps pruned weights at 0."""
    optimizer.zero_grad()
    loss.backward()
    torch._foreach_mul_([weight.grad for weight in weights], masks)
    optimizer.step()
    with torch.no_grad():
        torch._foreach_mul_(weights, masks)


class Apart:
    """Cells one after the other."""

    def __init__(self, problem: Problem):
        self.problem, self.nets = problem, deepcopy(problem.nets)
        if problem.recipe.channels_last:
            self.nets = [net.to(memory_format=torch.channels_last) for net in self.nets]
        self.optimizers = [make_optimizer(net, problem.recipe) for net in self.nets]

    def train(self) -> None:
        p = self.problem
        for net, optimizer, masks, xs, ys in zip(self.nets, self.optimizers, p.masks, p.x, p.y, strict=True):
            weights = [net.get_parameter(name) for name in masks]
            for x, y in zip(xs, ys, strict=True):
                if p.recipe.channels_last:
                    x = x.contiguous(memory_format=torch.channels_last)
                step(cross_entropy(net(x), y), optimizer, weights, list(masks.values()))

    def states(self) -> list[dict[str, Tensor]]:
        return [dict(net.state_dict()) for net in self.nets]


class Together:
    """All cells in one program: ``logits`` maps ``[cells, B, C, H, W]`` to ``[cells, B, K]``."""

    def __init__(self, problem: Problem):
        self.cells = len(problem.nets)
        self.x, self.y = torch.stack(problem.x, 1), torch.stack(problem.y, 1)

    def logits(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def train(self) -> None:
        for x, y in zip(self.x, self.y, strict=True):
            # The sum over cells of each cell's mean: no cell's gradient sees another's loss.
            loss = cross_entropy(self.logits(x).flatten(0, 1), y.flatten(), reduction="sum") / y.shape[1]
            step(loss, self.optimizer, self.weights, self.masks)


class Vmapped(Together):
    """``vmap`` over stacked parameters and buffers."""

    def __init__(self, problem: Problem):
        super().__init__(problem)
        self.net = deepcopy(problem.nets[0])
        self.parameters, self.buffers = stack_module_state(problem.nets)
        # Which parameters are decayed depends on their shape before they were stacked.
        names = {parameter: name for name, parameter in self.net.named_parameters()}
        groups = make_optimizer(self.net, problem.recipe).param_groups
        kind = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[problem.recipe.optimizer]
        self.optimizer = kind([{**g, "params": [self.parameters[names[p]] for p in g["params"]]} for g in groups])
        self.weights = [self.parameters[name] for name in problem.masks[0]]
        self.masks = [torch.stack([masks[name] for masks in problem.masks]) for name in problem.masks[0]]

    def logits(self, x: Tensor) -> Tensor:
        return vmap(lambda p, b, inputs: functional_call(self.net, (p, b), (inputs,)))(self.parameters, self.buffers, x)

    def states(self) -> list[dict[str, Tensor]]:
        everything = {**self.parameters, **self.buffers}
        return [{name: value[cell] for name, value in everything.items()} for cell in range(self.cells)]


class ByHand(Together):
    """Every layer replaced by one that holds all cells' weights, joined in the first dimension.

    Images are ``[B, cells * C, H, W]``; features of a perceptron are ``[cells, B, F]``.
    """

    def __init__(self, problem: Problem):
        super().__init__(problem)
        self.net = joined(problem.nets)
        self.has_images = any(isinstance(module, nn.Conv2d) for module in self.net.modules())
        if problem.recipe.channels_last:
            self.net = self.net.to(memory_format=torch.channels_last)
        self.channels_last = problem.recipe.channels_last
        self.optimizer = make_optimizer(self.net, problem.recipe)
        self.weights = [self.net.get_parameter(name) for name in problem.masks[0]]
        self.masks = [torch.cat([masks[name] for masks in problem.masks]) for name in problem.masks[0]]

    def logits(self, x: Tensor) -> Tensor:
        if not self.has_images:
            return self.net(x.flatten(2))
        x = x.transpose(0, 1).flatten(1, 2)
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        return self.net(x).unflatten(1, (self.cells, -1)).transpose(0, 1)

    def states(self) -> list[dict[str, Tensor]]:
        parts = {n: v.chunk(self.cells) if v.dim() else [v] * self.cells for n, v in self.net.state_dict().items()}
        return [{name: part[cell] for name, part in parts.items()} for cell in range(self.cells)]


class JoinedLinear(nn.Module):
    """All cells' Linear layers: ``[cells, B, in]`` or ``[B, cells * in]`` to the same with ``out``."""

    def __init__(self, layers: list[nn.Linear]):
        super().__init__()
        self.weight = nn.Parameter(torch.cat([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.cat([layer.bias.detach() for layer in layers]))
        self.cells = len(layers)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.unflatten(0, (self.cells, -1)), self.bias.view(self.cells, 1, -1)
        merged = x.dim() == 2
        if merged:
            x = x.unflatten(1, (self.cells, -1)).transpose(0, 1)
        out = torch.baddbmm(bias, x, weight.transpose(1, 2))
        return out.transpose(0, 1).flatten(1) if merged else out


def joined(nets: list[nn.Module]) -> nn.Module:
    """One network that computes what these do, side by side in its channels."""
    whole = deepcopy(nets[0])
    perceptron = not any(isinstance(module, nn.Conv2d) for module in whole.modules())
    for name, module in list(whole.named_modules()):
        layers = [net.get_submodule(name) for net in nets]
        if isinstance(module, nn.Linear):
            whole.set_submodule(name, JoinedLinear(layers))
        elif isinstance(module, nn.Flatten) and perceptron:
            whole.set_submodule(name, nn.Identity())
        elif isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            for key, value in module.state_dict().items():
                if value.dim():
                    _replace(module, key, torch.cat([layer.state_dict()[key] for layer in layers]))
            if isinstance(module, nn.Conv2d):
                module.groups *= len(nets)
            else:
                module.num_features *= len(nets)
        elif not list(module.children()) and list(module.parameters()):
            raise TypeError(f"no way to join {type(module).__name__} by hand")
    return whole


def _replace(module: nn.Module, name: str, value: Tensor) -> None:
    if name in module._parameters:
        setattr(module, name, nn.Parameter(value))
    else:
        setattr(module, name, value)


class TwoProcesses:
    """Half of the cells each, one after the other, in processes of one thread that are started before the clock."""

    def __init__(self, name: str):
        context, halves = multiprocessing.get_context("spawn"), (range(CELLS // 2), range(CELLS // 2, CELLS))
        self.pipes = []
        for cells in halves:
            mine, theirs = context.Pipe()
            context.Process(target=_serve, args=(theirs, name, cells), daemon=True).start()
            self.pipes.append(mine)
        for pipe in self.pipes:
            pipe.recv()

    def train(self) -> None:
        for pipe in self.pipes:
            pipe.send("train")
        for pipe in self.pipes:
            pipe.recv()

    def close(self) -> None:
        for pipe in self.pipes:
            pipe.close()


def _serve(pipe, name: str, cells: range) -> None:
    torch.set_num_threads(1)
    mine = Apart(Problem(name, cells))
    pipe.send("ready")
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        mine.train()
        pipe.send("done")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--networks", nargs="+", default=list(NETWORKS))
    options.add_argument("--threads", nargs="+", type=int, default=[1])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--store", help="of a finished quick board")
    chosen = options.parse_args()
    gains = {name: measure(name, chosen.rounds, chosen.threads) for name in chosen.networks}
    if chosen.store:
        tell_board(Path(chosen.store), gains)
    print(f"load: {' '.join(f'{load:.1f}' for load in os.getloadavg())}, {os.cpu_count()} cores")


def measure(name: str, rounds: int, counts: list[int]) -> float:
    """How many times as fast as its rival on the same cores the best batched program is."""
    problem, processes = Problem(name, range(CELLS)), TwoProcesses(name)
    apart, programs = Apart(problem), {"vmap": Vmapped(problem)}
    try:
        programs["by hand"] = ByHand(problem)
    except TypeError as error:
        print(f"\n{name}: {error}")
    rivals = {"one after the other": threaded(1, apart), "two processes": processes.train}
    for threads in counts:
        if threads > 1:
            rivals[f"one after the other, {threads} threads"] = threaded(threads, apart)
        for kind, program in programs.items():
            rivals[f"{kind}, {threads} thread{'s' * (threads > 1)}"] = threaded(threads, program)
    timings = side_by_side(rivals, rounds)
    processes.close()
    torch.set_num_threads(1)
    report(f"{name}: {len(problem.x[0])} steps of {CELLS} cells", timings, "a board 1.5x as fast")
    for kind, program in programs.items():
        short, long = (difference(name, type(program), dtype=dtype) for dtype in (torch.float32, torch.float64))
        print(f"{kind}: weights after three steps differ by {short:.0e} in 32 bits, {long:.0e} in 64")
    took = {timing.name: median(timing.ratios) for timing in timings}
    alone = [1 / ratio for rival, ratio in took.items() if rival.endswith(", 1 thread")]
    whole = [took["two processes"] / ratio for rival, ratio in took.items() if rival.endswith(", 2 threads")]
    return max(alone + whole)


def threaded(threads: int, program: Apart | Together) -> Callable[[], None]:
    def train() -> None:
        torch.set_num_threads(threads)
        program.train()

    return train


def difference(name: str, kind: type[Together], steps: int = 3, dtype: torch.dtype = torch.float32) -> float:
    """Largest difference of a prunable weight of any cell to a separate run's, over its tensor's largest entry."""
    problem = Problem(name, range(3), steps, dtype)
    apart, together = Apart(problem), kind(problem)
    apart.train()
    together.train()
    return max(
        float((mine[key] - other[key]).detach().abs().max() / mine[key].detach().abs().max().clamp_min(1e-12))
        for mine, other in zip(apart.states(), together.states(), strict=True)
        for key in problem.masks[0]
    )


def tell_board(store: Path, gains: dict[str, float]) -> None:
    """What the quick board would gain: trainings that have equals beside them, at the measured speed."""
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in store.glob("stages/*/stage.json")]
    alike: dict[tuple[str, str], list[dict]] = defaultdict(list)
    for found in reports:
        alike[found["label"].split()[0], shape_of(found)].append(found)
    before = after = 0.0
    print(f"\n{'task':18} {'stages':>7} {'all s':>8} {'in fits':>8} {'with equals':>12} {'gain':>6}")
    for task in sorted({task for task, _ in alike}):
        groups = [group for (t, _), group in alike.items() if t == task]
        wall = sum(r["wall_seconds"] for group in groups for r in group)
        fits = sum(r["seconds"] for group in groups for r in group)
        equals = sum(r["seconds"] for group in groups if len(group) >= CELLS for r in group)
        gain = gains.get(task, 1.0)
        before, after = before + wall, after + wall - equals + equals / max(gain, 1.0)
        print(f"{task:18} {sum(map(len, groups)):7} {wall:8.1f} {fits:8.1f} {equals:12.1f} {gain:6.2f}")
    print(f"all stages: {before:.1f} s, batched where that is faster {after:.1f} s: {before / after:.2f}x")


def shape_of(found: dict) -> str:
    """What must be equal for trainings to run side by side: length, schedule, kind of pruning, how it begins."""
    trainings = [dict(phase) for phase in found["phases"] if "epochs" in phase]
    for training in trainings:
        if training.get("pruner"):
            training["pruner"] = {**training["pruner"], "sparsity": None}
    return json.dumps([trainings, found["parent"] is None, found["steps"]], sort_keys=True)


if __name__ == "__main__":
    main()
