"""Every network trains a step as the grid trains it: a Classifier, a Pruner, a Lightning Trainer."""

from __future__ import annotations

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from sparsebench.callbacks import Pruner
from sparsebench.models import build
from sparsebench.models.classifier import Classifier
from sparsebench.recipe import Recipe
from sparsebench.registry import network
from sparsebench.scope import scope_of

NARROW = {
    name: {"width": 4} for name in ("resnet18", "resnet50", "resnet56", "vgg11", "vgg16", "vgg16_fan_in", "vgg19")
}
SIZES = {"vit_b16": 32, "vit_small": 16, "vit_tiny": 16}
"""Image sides; 8 where none is given."""
SLOW = ("vit_b16", "vit_small")


def build_small(name: str, optimizer: str) -> tuple[Classifier, tuple[int, int, int]]:
    shape = (3, SIZES.get(name, 8), SIZES.get(name, 8))
    torch.manual_seed(0)
    net = build(name, shape, 4, **NARROW.get(name, {}))
    return Classifier(net, Recipe(epochs=1, rate=0.01, optimizer=optimizer, clip=1.0, channels_last=True)), shape


QUICK = [pytest.param(n, o, id=f"{n}-{o}") for n in network.names() if n not in SLOW for o in ("sgd", "adamw")]
LARGE = [pytest.param(n, "adamw", marks=pytest.mark.slow, id=n) for n in SLOW]


@pytest.mark.parametrize(("name", "optimizer"), [*QUICK, *LARGE])
def test_trains_under_a_pruner(name, optimizer):
    module, shape = build_small(name, optimizer)
    keys = list(module.net.state_dict())
    before = {n: v.clone() for n, v in module.net.state_dict().items()}
    loader = DataLoader(TensorDataset(torch.randn(8, *shape), torch.arange(8) % 4), batch_size=4)
    pruner = Pruner("magnitude", 0.8, on="net")
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[pruner],
    )  # fmt: skip
    trainer.fit(module, loader)
    after, scope = module.net.state_dict(), scope_of(module.net)
    assert trainer.global_step == 2
    assert list(after) == keys
    assert pruner.masks.kept == round(0.2 * scope.size)
    assert pruner.leaked == 0
    assert all((after[n][~mask] == 0).all() for n, mask in pruner.masks.items())
    assert all(torch.isfinite(v).all() for v in after.values())
    moved = [n for n, mask in pruner.masks.items() if (after[n] != before[n])[mask].any()]
    assert len(moved) >= 0.9 * len(pruner.masks), "kept weights that did not train"
