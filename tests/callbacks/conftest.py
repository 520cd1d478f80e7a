"""A small training that the callbacks are tried on: batch norm, dropout, a shuffling loader."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
}


def dense_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(12, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(16, 16),
        nn.ReLU(),
        nn.Linear(16, 4),
    )


class Module(L.LightningModule):
    """A stranger's module: layers of its own, no ``net``."""

    def __init__(self, optimizer: str = "sgd"):
        super().__init__()
        self.body, self.optimizer = dense_net(), optimizer

    def forward(self, x):
        return self.body(x)

    def training_step(self, batch, index):
        return cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        optimizer = OPTIMIZERS[self.optimizer](self.parameters())
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def loader(batches: int = 6) -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batches * 8, 12, generator=generator)
    y = torch.randint(0, 4, (batches * 8,), generator=generator)
    return DataLoader(TensorDataset(x, y), 8, shuffle=True)


def trainer(callbacks: Iterable[L.Callback] = (), **settings: Any) -> L.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    quiet |= {"enable_checkpointing": any("Checkpoint" in type(c).__name__ for c in callbacks)}
    return L.Trainer(**{"max_epochs": 2, **quiet, **settings}, callbacks=list(callbacks))


@pytest.fixture(autouse=True)
def _quiet_and_seeded():
    torch.manual_seed(0)


@pytest.fixture
def make_module() -> type[Module]:
    return Module


@pytest.fixture
def make_net() -> Callable[[], nn.Module]:
    return dense_net


@pytest.fixture
def make_loader() -> Callable[..., DataLoader]:
    return loader


@pytest.fixture
def make_trainer() -> Callable[..., L.Trainer]:
    return trainer


@pytest.fixture
def fit(make_module, make_loader, make_trainer) -> Callable:
    """Fit a module with callbacks from seed 0; returns the module."""

    def run(*callbacks: L.Callback, module: L.LightningModule | None = None, ckpt_path=None, **settings: Any):
        torch.manual_seed(0)
        module = module or make_module()
        make_trainer(callbacks, **settings).fit(module, make_loader(), ckpt_path=ckpt_path)
        return module

    return run
