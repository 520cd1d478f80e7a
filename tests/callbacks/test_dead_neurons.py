"""DeadNeurons in LightningModules that know nothing of it."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from sparsebench.callbacks import DeadNeurons, Pruner
from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.metrics.dead_neurons import dead_neuron_rates


class Module(L.LightningModule):
    def __init__(self, activation=nn.ReLU):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), activation(), nn.Dropout(0.3), nn.Linear(8, 3))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, index):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.5)


class Silent(Module):
    """Calls its network directly and has no forward of its own."""

    forward = L.LightningModule.forward


def dataset() -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(40, 4, generator=generator), torch.randint(0, 3, (40,), generator=generator))


def loader() -> DataLoader:
    return DataLoader(dataset(), 10, shuffle=True)


def fit(module, *callbacks, epochs=2, loader=loader, ckpt_path=None, seed=1, logger=False) -> L.Trainer:
    torch.manual_seed(seed)
    trainer = L.Trainer(
        max_epochs=epochs, accelerator="cpu", callbacks=list(callbacks), logger=logger, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, loader(), ckpt_path=ckpt_path)
    return trainer


def test_what_is_logged_equals_a_measurement_by_hand():
    module, x = Module(), torch.randn(6, 4)
    callback = DeadNeurons(probe=[x], masks={"net.0.weight": torch.tensor([[True] * 4] * 6 + [[False] * 4] * 2)})
    trainer = fit(module, callback)
    rates = dead_neuron_rates(module, [x], callback.fixed_masks)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert logged == pytest.approx(
        {
            "dead/static": 0.25,
            "dead/dynamic": rates.dynamic,
            "dead/dynamic_alive": rates.dynamic_alive,
            "dead/permanent": rates.permanent,
        }
    )
    assert [entry["epoch"] for entry in callback.history] == [0, 1]
    assert [entry["global_step"] for entry in callback.history] == [4, 8]
    assert callback.history[1]["sites"]["net.1"]["dynamic"] == rates.dynamic


def test_measuring_changes_nothing():
    plain, watched = Module(), Module()
    fit(plain)
    fit(watched, DeadNeurons(images=16))
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), watched.parameters(), strict=True))


def test_the_default_probe_is_a_fixed_subset_of_the_training_set():
    first, second = DeadNeurons(images=16), DeadNeurons(images=16)
    fit(Module(), first, epochs=1)
    fit(Module(), second, epochs=3, seed=99)
    assert torch.equal(torch.cat(first.probe), torch.cat(second.probe))
    inputs = {tuple(x.tolist()) for x in dataset().tensors[0]}
    chosen = {tuple(x.tolist()) for x in torch.cat(first.probe)}
    assert len(chosen) == 16
    assert chosen < inputs


def test_a_data_module_may_give_the_probe():
    class Data(L.LightningDataModule):
        def train_dataloader(self):
            return loader()

        def probe(self, n):
            return [(torch.ones(n, 4), torch.zeros(n))]

    callback = DeadNeurons(images=5)
    fit(Module(), callback, epochs=1, loader=Data)
    assert torch.equal(callback.probe[0][0], torch.ones(5, 4))


def test_a_loader_of_one_s_own_gives_its_first_batches():
    class Batches:
        def __iter__(self):
            return ((torch.full((10, 4), float(i)), torch.zeros(10, dtype=torch.long)) for i in range(4))

    callback = DeadNeurons(images=15)
    fit(Module(), callback, epochs=1, loader=Batches)
    assert [(len(x), float(x[0, 0])) for x in callback.probe] == [(10, 0.0), (5, 1.0)]


def test_every_n_epochs():
    callback = DeadNeurons(probe=[torch.ones(1, 4)], every_n_epochs=2)
    fit(Module(), callback, epochs=5)
    assert [entry["epoch"] for entry in callback.history] == [1, 3]


def test_validation_and_its_sanity_check_measure_nothing():
    class Validated(Module):
        sanity_checks = 0

        def validation_step(self, batch, index):
            self.sanity_checks += self.trainer.sanity_checking

        def val_dataloader(self):
            return DataLoader(dataset(), 20)

    module, callback = Validated(), DeadNeurons(probe=[torch.ones(1, 4)])
    fit(module, callback)
    assert module.sanity_checks > 0
    assert [(entry["epoch"], entry["global_step"]) for entry in callback.history] == [(0, 4), (1, 8)]


@pytest.mark.parametrize("on", ["", "net"])
def test_masks_come_from_the_pruner(on):
    """Half of the rows of the first layer are pruned on a submodule; names are translated to it and back."""
    module = Module()
    names = {f"{'net.' if not on else ''}{i}.weight": i for i in (0, 3)}
    masks = {name: torch.ones_like(module.net[i].weight, dtype=torch.bool) for name, i in names.items()}
    next(iter(masks.values()))[:4] = False
    for watched in ("", "net"):
        callback = DeadNeurons(probe=[torch.ones(1, 4)], on=watched)
        trainer = fit(module, Pruner(masks=Masks(masks), on=on), callback, epochs=1)
        assert float(trainer.callback_metrics["dead/static"]) == 0.5


def test_without_masks_exact_zeros_count_as_pruned():
    module = Module()
    module.net[0].weight.data[:2] = 0
    module.net[0].weight.register_hook(lambda grad: grad * (module.net[0].weight != 0))
    trainer = fit(module, DeadNeurons(probe=[torch.ones(1, 4)]), epochs=1)
    assert float(trainer.callback_metrics["dead/static"]) == 0.25


def test_smooth_networks_log_only_what_they_have():
    trainer = fit(Module(nn.GELU), DeadNeurons(probe=[torch.ones(1, 4)]), epochs=1)
    assert set(trainer.callback_metrics) == {"dead/neg_preact"}


def test_history_survives_a_checkpoint(tmp_path):
    callback = DeadNeurons(images=8)
    fit(Module(), callback).save_checkpoint(tmp_path / "last.ckpt")
    resumed = DeadNeurons(images=8)
    fit(Module(), resumed, epochs=3, ckpt_path=tmp_path / "last.ckpt")
    assert resumed.history[:2] == callback.history
    assert [entry["epoch"] for entry in resumed.history] == [0, 1, 2]


def test_a_network_inside_a_module_without_forward_is_named():
    with pytest.raises(UsageError, match=r'DeadNeurons\(on="net"\)'):
        fit(Silent(), DeadNeurons(), epochs=1)
    callback = DeadNeurons(probe=[torch.ones(1, 4)], on="net")
    fit(Silent(), callback, epochs=1)
    assert list(callback.history[0]["sites"]) == ["1"]


@pytest.mark.parametrize("options", [{"every_n_epochs": 0}, {"images": 0}])
def test_counts_below_one_are_refused(options):
    with pytest.raises(UsageError, match="at least 1"):
        DeadNeurons(**options)


def test_batches_of_dicts_need_a_probe():
    class Dicts(Module):
        def training_step(self, batch, index):
            return super().training_step((batch["x"], batch["y"]), index)

    def dicts():
        return DataLoader([{"x": torch.ones(4), "y": 0}] * 8, 4)

    with pytest.raises(UsageError, match="pass probe="):
        fit(Dicts(), DeadNeurons(), epochs=1, loader=dicts)


def test_loggers_and_monitors_hear_of_it(tmp_path):
    masks = {"net.0.weight": torch.tensor([[True] * 4] * 6 + [[False] * 4] * 2)}  # the rate stays as it is
    stop, logger = EarlyStopping("dead/static", patience=2), CSVLogger(tmp_path)
    trainer = fit(Module(), DeadNeurons([torch.randn(6, 4)], masks=masks), stop, epochs=9, logger=logger)
    assert trainer.current_epoch == 3  # nothing better in two epochs after the first
    logger.save()
    head, *rows = (Path(logger.log_dir) / "metrics.csv").read_text().splitlines()
    told = [dict(zip(head.split(","), row.split(","), strict=True)) for row in rows]
    assert [(row["epoch"], row["step"], row["dead/static"]) for row in told] == [
        ("0", "4", "0.25"),
        ("1", "8", "0.25"),
        ("2", "12", "0.25"),
    ]
    assert float(trainer.logged_metrics["dead/static"]) == 0.25
