"""State: a network on its way through the phases of a stage."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from sparsebench import tree
from sparsebench.callbacks.random_state import random_states
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.plan import Stage
from sparsebench.masks import Masks
from sparsebench.models import build
from sparsebench.protocol import derived_seed
from sparsebench.ranks import gather
from sparsebench.scope import scope_of
from sparsebench.scoring import untouched
from sparsebench.structured import shrink
from sparsebench.tasks import Task


@dataclass
class State:
    """What a stage works on; phases change it in place."""

    stage: Stage
    net: nn.Module
    masks: Masks | None = None
    structure: Masks | None = None
    """Units taken out of the network, in the shapes it had before."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Network arguments that are not the task's."""
    before: dict[str, Tensor] = field(default_factory=dict)
    """Prunable weights as they were before the last pruning of this stage."""
    start: float = 0.0
    """Share of the learning-rate schedule already behind (after a rewind to a later step)."""
    optimizer: dict[str, Any] | None = None
    """Optimiser state to begin the next training with; None = fresh."""
    scores: Tensor | None = None
    """Scores [n] of the training images, counted while training."""
    trainings: int = 0
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def prunable(self) -> int:
        """Prunable weights of the network with all its units."""
        whole = self.structure or {}
        return sum(whole.get(name, weight).numel() for name, weight in scope_of(self.net).prunable.items())

    @property
    def task(self) -> Task:
        return self.stage.task

    @property
    def seed(self) -> int:
        return self.stage.seed

    def note(self, rule: int, passed: bool, detail: str) -> None:
        """Add what was seen of one audit rule."""
        self.report["audit"].append({"rule": rule, "passed": bool(passed), "detail": detail})

    def flag(self, text: str) -> None:
        if text not in self.report["flags"]:
            self.report["flags"].append(text)


UNTOUCHED = "weights, buffers, gradients, modes and random state after scoring equal those before"


def state_hash(net: nn.Module) -> str:
    """Hash of all that scoring must leave alone: weights, buffers, gradients, modes and random states."""
    return tree.digest(
        {
            "state": net.state_dict(),
            "gradients": [p.grad for p in net.parameters()],
            "modes": [module.training for module in net.modules()],
            "random": random_states(),
        }
    )


def fresh_report() -> dict[str, Any]:
    return {
        "audit": [],
        "flags": [],
        "losses": [],
        "steps": 0,
        "epochs": 0.0,
        "images": 0,
        "seconds": 0.0,
        "score_seconds": 0.0,
        "score_passes": 0,
        "val_top1_before": None,
        "val_top1": None,
    }


def initial_net(
    task: Task,
    seed: int,
    input_shape: tuple[int, ...],
    classes: int,
    draw: int = 0,
    arguments: Mapping[str, Any] | None = None,
) -> nn.Module:
    """The network at initialisation: a function of task and seed alone (``draw`` > 0: other weights).

    ``arguments`` take the place of the task's own of the same name.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "weights", draw))
        return build(task.network, input_shape, classes, **{**task.network_arguments, **(arguments or {})})


def without_units(net: nn.Module, structure: Masks, input_shape: tuple[int, ...]) -> None:
    """Take units out of a network physically."""
    device = next(net.parameters()).device
    shrink(net, structure.to(device), noise(input_shape).to(device))


def noise(input_shape: tuple[int, ...]) -> Tensor:
    """Two inputs on which networks can be traced and compared."""
    return torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0))


def shuffled(masks: Masks, seed: int) -> Masks:
    """Each tensor's mask with its entries permuted."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "shuffle"))
    return Masks(
        {n: m.flatten()[torch.randperm(m.numel(), generator=generator)].view(m.shape) for n, m in masks.items()}
    )


@lru_cache(maxsize=4)
def data_of(
    dataset: str, global_batch: int, augment: str, root: str | None, download: bool, device: str, subset: tuple = ()
) -> Any:
    """The data module of a task, set up once a process."""
    from sparsebench.data.module import DataModule

    data = DataModule(
        dataset, global_batch, augment=augment, root=root, download=download, device=device, subset=dict(subset)
    )
    data.prepare_data()
    data.setup("fit")
    data.shard_eval = True
    return data


def logits(net: nn.Module, batches: Any) -> tuple[Tensor, Tensor]:
    """Logits ``[N, K]`` and labels ``[N]`` in evaluation mode; the network is left as it was.

    Rank r of W has run images r, r + W, and so on: each image counts once, in the order one process has them in.
    """
    device = next(net.parameters()).device
    with untouched(net, train=False), torch.no_grad():
        pairs = [(net(x.to(device)).float().cpu(), y.cpu()) for x, y in batches]
    mine = torch.cat([z for z, _ in pairs]), torch.cat([y for _, y in pairs])
    shares = gather(mine)
    return tuple(interleaved([share[i] for share in shares]) for i in range(2))


def interleaved(shares: Sequence[Tensor]) -> Tensor:
    """Rows dealt out to several ranks in turn, in their order again.

    >>> interleaved([torch.tensor([0, 2, 4]), torch.tensor([1, 3])]).tolist()
    [0, 1, 2, 3, 4]
    """
    whole = shares[0].new_empty((sum(map(len, shares)), *shares[0].shape[1:]))
    for rank, share in enumerate(shares):
        whole[rank :: len(shares)] = share
    return whole


def top1(net: nn.Module, batches: Any) -> float:
    z, y = logits(net, batches)
    return float((z.argmax(1) == y).double().mean())


def peak_memory_mb(hardware: Hardware) -> float:
    """Peak of the GPU since it was last asked, or of the worker process since it began."""
    if hardware.accelerator == "gpu":
        peak = torch.cuda.max_memory_allocated() / 2**20
        torch.cuda.reset_peak_memory_stats()
        return peak
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
