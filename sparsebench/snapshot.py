"""Snapshots: the state of a training at one moment, never sharing storage with the living tensors."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparsebench import tree


class Snapshot:
    """Weights, buffers, optimiser state and learning-rate schedules, cloned to the CPU."""

    def __init__(self, content: dict[str, Any]):
        self.tree = content

    @classmethod
    def take(cls, module: nn.Module, optimizers: Iterable = (), schedulers: Iterable = ()) -> Snapshot:
        state = {
            "model": module.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in schedulers],
        }
        return cls(tree.map_tensors(state, lambda t: t.detach().to("cpu", copy=True)))

    def restore(self, module: nn.Module, optimizers: Iterable = (), schedulers: Iterable = ()) -> None:
        """Put everything back; the living parameters and buffers are written to, not replaced."""
        content = tree.map_tensors(self.tree, torch.clone)
        module.load_state_dict(content["model"])
        for optimizer, state in zip(optimizers, content["optimizers"], strict=True):
            load_optimizer(optimizer, state)
        for scheduler, state in zip(schedulers, content["schedulers"], strict=True):
            scheduler.load_state_dict(state)

    def digest(self) -> str:
        return tree.digest(self.tree)

    def save(self, path: str | Path) -> None:
        tree.save(self.tree, path)

    @classmethod
    def load(cls, path: str | Path) -> Snapshot:
        return cls(tree.load(path))


@torch.no_grad()
def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """``optimizer.load_state_dict``, with each moment in the memory layout of its parameter.

    Files hold contiguous tensors; the fused optimisers walk parameter and moment side by side in memory, so
    beside a channels_last weight a contiguous momentum would be applied to the wrong entries.
    """
    optimizer.load_state_dict(state)
    for param, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == param.shape and value.stride() != param.stride():
                values[name] = torch.empty_like(param, dtype=value.dtype).copy_(value)


def state_digest(module: nn.Module) -> str:
    """Hash of a module's parameters and buffers."""
    digest = sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tree.tensor_bytes(value))
    return digest.hexdigest()
