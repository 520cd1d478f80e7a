"""RandomState: random numbers continue across a resume as if nothing had happened."""

from __future__ import annotations

import random
from typing import Any

import lightning as L
import numpy
import torch

from sparsebench.ranks import gather, rank, world


class RandomState(L.Callback):
    """Carries the states of Python's, NumPy's and torch's generators in checkpoints.

    Dropout, shuffling and augmentation of a run resumed at an epoch boundary then equal those of an
    uninterrupted one, bit for bit on one machine. A checkpoint holds the states of all ranks, so all of them must
    save it, as Lightning does; resumed on another number of ranks, they begin with those of rank 0.
    """

    def __init__(self) -> None:
        self._restored: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"ranks": gather(random_states())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        states = state["ranks"]
        self._restored = states[rank() if len(states) == world() else 0]

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Later is too late: the first iterator over the training data draws its seed before ``on_train_start``.
        if self._restored is None:
            return
        state, self._restored = self._restored, None
        torch.set_rng_state(state["torch"].cpu())
        if state["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda"][0].cpu())
        kind, keys, *rest = state["numpy"]
        numpy.random.set_state((kind, keys.numpy().astype("uint32"), *rest))
        version, internal, gauss = state["python"]
        # As a tensor it is hashed and written as one; checkpoints of old have a list.
        random.setstate((version, tuple(torch.as_tensor(internal).tolist()), gauss))


def random_states() -> dict[str, Any]:
    """The states of Python's, NumPy's and torch's generators, on a GPU too where one is in use."""
    kind, keys, *rest = numpy.random.get_state()
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else [],
        "numpy": [kind, torch.from_numpy(keys.astype("int64")), *rest],
        "python": [version, torch.tensor(internal), gauss],
    }
