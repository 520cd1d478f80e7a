"""SparsityLog counts zeros itself and notices weights that came back."""

from __future__ import annotations

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from sparsebench.callbacks import Pruner, SparsityLog


class Module(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))

    def training_step(self, batch, index):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)


class Reviver(L.Callback):
    """Writes to two pruned weights behind the pruner's back."""

    def on_train_epoch_end(self, trainer, pl_module):
        pruner = trainer.callbacks[0]
        pruned = (~pruner.masks["net.0.weight"]).nonzero()[:2]
        with torch.no_grad():
            pl_module.net[0].weight[pruned[:, 0], pruned[:, 1]] = 1.0


def fit(*callbacks, module=None) -> L.Trainer:
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", callbacks=list(callbacks), logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    data = TensorDataset(torch.randn(20, 4), torch.randint(0, 2, (20,)))
    trainer.fit(module or Module(), DataLoader(data, 10))
    return trainer


def test_zeros_are_counted_without_any_pruner():
    """Of 32 + 16 prunable weights 6 are zero from the start and get no gradient; zero biases do not count."""
    module = Module()
    with torch.no_grad():
        module.net[3].weight[0, :6] = 0
        module.net[3].bias.zero_()
    module.net[3].weight.register_hook(lambda grad: grad * (module.net[3].weight != 0))
    trainer = fit(SparsityLog(per_layer=True), module=module)
    assert {name: float(value) for name, value in trainer.callback_metrics.items()} == pytest.approx(
        {"sparsity": 6 / 48, "sparsity/net.0.weight": 0, "sparsity/net.3.weight": 6 / 16}
    )


def test_agrees_with_the_pruner_in_silence(recwarn):
    log = SparsityLog()
    trainer = fit(Pruner("magnitude", sparsity=0.75), log)
    assert set(trainer.callback_metrics) == {"sparsity"}
    assert float(trainer.callback_metrics["sparsity"]) == log.last["sparsity"] == 0.75
    assert not [w for w in recwarn if "pruned weights" in str(w.message)]


def test_revived_weights_are_named():
    log = SparsityLog()
    with pytest.warns(UserWarning, match=r"2 pruned weights are not 0 after epoch 0, in net.0.weight \(2\)"):
        fit(Pruner("magnitude", sparsity=0.75), Reviver(), log)
    assert log.last["sparsity"] == pytest.approx(34 / 48)
