"""sparsebench: a benchmark suite for neural network pruning.

``prune`` and ``scores`` work on any ``nn.Module``; ``sparsebench.callbacks`` plugs into any Lightning
Trainer; the command ``sparsebench`` runs boards. Nothing heavy is imported until it is used.
"""

from __future__ import annotations

from importlib import import_module

from sparsebench.registry import criterion, dataset, modifier, network, regime, solver

_HOMES = {
    "prune": "functional",
    "scores": "functional",
    "Masks": "masks",
    "scope_of": "scope",
    "select": "selection",
    "rigl_update": "growth",
    "set_update": "growth",
}

__all__ = [
    "Masks",
    "criterion",
    "dataset",
    "modifier",
    "network",
    "prune",
    "regime",
    "rigl_update",
    "scope_of",
    "scores",
    "select",
    "set_update",
    "solver",
]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(f"sparsebench.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'sparsebench' has no attribute {name!r}")
