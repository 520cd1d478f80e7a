"""Loaders: order and augmentation are a function of (seed, epoch), and N ranks see what one sees."""

from __future__ import annotations

import lightning as L
import pytest
import torch

from sparsebench.data.module import DataModule
from sparsebench.errors import UsageError


def digits(**kwargs) -> DataModule:
    data = DataModule("digits", kwargs.pop("global_batch", 128), augment="shift1", **kwargs)
    data.setup()
    return data


def epoch(data: DataModule, number: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    loader = data.train_dataloader()
    loader.set_epoch(number)
    batches = list(loader)
    assert len(batches) == len(loader) == data.steps_per_epoch
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def test_an_epoch_depends_on_seed_and_number_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, _ = epoch(digits(seed=5), 3)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(99)
    assert torch.equal(first, epoch(digits(seed=5), 3)[0])
    assert not torch.equal(first, epoch(digits(seed=5), 4)[0])
    assert not torch.equal(first, epoch(digits(seed=6), 3)[0])


def test_first_epoch_is_an_offset():
    later = digits()
    later.first_epoch = 3
    assert torch.equal(epoch(later, 1)[0], epoch(digits(), 4)[0])


def test_last_incomplete_batch_is_dropped_unless_it_is_the_only_one():
    assert len(epoch(digits())[0]) == 9 * 128
    assert len(epoch(digits(global_batch=5000))[0]) == 1197


def test_ranks_together_see_each_global_batch_of_one_process():
    single = digits().train_dataloader()
    shards = []
    for rank in range(4):
        data = digits()
        data.rank, data.world = rank, 4
        shards.append(data.train_dataloader())
    for (x, y), *parts in zip(single, *shards, strict=True):
        assert torch.equal(torch.stack([p[0] for p in parts], 1).flatten(0, 1), x)
        assert torch.equal(torch.stack([p[1] for p in parts], 1).flatten(), y)


def test_rank_is_asked_of_the_process_group_when_iteration_starts(monkeypatch):
    loader = digits().train_dataloader()
    whole = next(iter(loader))[0]
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    assert torch.equal(next(iter(loader))[0], whole[1::2])


def test_a_batch_that_cannot_be_shared_is_refused():
    data = digits(global_batch=128)
    data.rank, data.world = 0, 3
    with pytest.raises(UsageError, match="128 cannot be split among 3"):
        next(iter(data.train_dataloader()))


@pytest.mark.parametrize("world", [2, 3, 7])
def test_sharded_evaluation_has_each_image_once(world):
    whole = torch.cat([x for x, _ in digits(eval_batch=64).val_dataloader()])
    parts = []
    for rank in range(world):
        data = digits(eval_batch=64)
        data.rank, data.world = rank, world
        assert torch.equal(torch.cat([x for x, _ in data.val_dataloader()]), whole)
        data.shard_eval = True
        loader = data.val_dataloader()
        batches = list(loader)
        assert len(loader) == len(batches)
        parts.append(torch.cat([x for x, _ in batches]))
    assert sum(len(part) for part in parts) == len(whole)
    merged = torch.empty_like(whole)
    for rank, part in enumerate(parts):
        merged[rank::world] = part
    assert torch.equal(merged, whole)


class Recorder(L.LightningModule):
    """Keeps a sum of every batch it is trained on."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[float] = []

    def training_step(self, batch, index):
        x, y = batch
        self.seen.append(float((x.flatten(1).double().sum(1) * (1 + y) * torch.arange(1, len(y) + 1)).sum()))
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(epochs: int, attached: bool, folder, resume=None) -> list[float]:
    module, data = Recorder(), digits()
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    feed = {"datamodule": data} if attached else {"train_dataloaders": data.train_dataloader()}
    trainer.fit(module, ckpt_path=resume, weights_only=False, **feed)
    trainer.save_checkpoint(folder / f"{epochs}.ckpt")
    return module.seen


@pytest.mark.parametrize("attached", [True, False])
def test_resumed_at_an_epochs_end_sees_the_same_batches(attached, tmp_path):
    whole = fit(3, attached, tmp_path)
    assert len(set(whole)) == 27
    start = fit(1, attached, tmp_path)
    rest = fit(3, attached, tmp_path, resume=tmp_path / "1.ckpt")
    assert start + rest == whole
