"""What plugs into a Lightning Trainer: ``from sparsebench.callbacks import Pruner, DeadNeurons``."""

from __future__ import annotations

if __name__ != "sparsebench.callbacks":
    raise ImportError("import it as 'sparsebench.callbacks' (after 'pip install -e .'); 'callbacks' is only its folder")

from importlib import import_module

_HOMES = {
    "Pruner": "pruner",
    "OneShot": "schedules",
    "Iterative": "schedules",
    "Linear": "schedules",
    "Cubic": "schedules",
    "DynamicSparsity": "dynamic",
    "LatentSparsity": "latent",
    "Rewind": "rewind",
    "RandomState": "random_state",
    "DeadNeurons": "dead_neurons",
    "SparsityLog": "sparsity_log",
    "Progress": "progress",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(f"sparsebench.callbacks.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'sparsebench.callbacks' has no attribute {name!r}")
