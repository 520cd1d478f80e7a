"""Data restricted to some training images: what changes, and what must not."""

from __future__ import annotations

import pytest
import torch

from sparsebench.data.loader import epoch_generator
from sparsebench.data.module import DataModule
from sparsebench.errors import UsageError


@pytest.fixture
def data() -> DataModule:
    module = DataModule("digits", 128)
    module.setup("fit")
    return module


def seen(data: DataModule, epoch: int = 0) -> torch.Tensor:
    loader = data.train_dataloader()
    loader.set_epoch(epoch)
    return torch.cat(loader.batches())


def test_the_whole_set_is_handed_out_as_ever(data):
    """The order that committed records were trained in."""
    order = data.train_positions[torch.randperm(1197, generator=epoch_generator(0, 3))]
    assert torch.equal(seen(data, 3), order[: 9 * 128])
    labels = torch.cat([y for _, y in _at(data, 3)])
    assert torch.equal(labels, data._source.train.labels[order[: 9 * 128]])


def _at(data: DataModule, epoch: int):
    loader = data.train_dataloader()
    loader.set_epoch(epoch)
    return loader


def test_only_the_kept_images_are_trained_on_and_all_else_stays(data):
    kept = data.train_positions[::3]
    part = data.restricted(kept.flip(0))
    assert (part.train_size, part.epoch_images, part.steps_per_epoch) == (399, 399, 3)
    assert set(seen(part).tolist()) <= set(kept.tolist())
    assert torch.equal(torch.cat([y for _, y in part.in_order()]), part.train_labels)
    assert part._normalise is data._normalise
    for name in ("val_dataloader", "test_dataloader"):
        for (a, _), (b, _) in zip(getattr(part, name)(), getattr(data, name)(), strict=True):
            assert torch.equal(a, b)
    assert set(torch.cat([y for _, y in part.probe(2048)]).tolist()) == set(range(10))
    assert sum(len(y) for _, y in part.probe(2048)) == 399
    assert data.train_size == 1197
    assert part.unrestricted is data


def test_the_digest_knows_the_kept_images(data):
    assert data.digest  # which the copies must not inherit
    a, b, again = (data.restricted(data.train_positions[start::2]) for start in (0, 1, 0))
    assert len({data.digest, a.digest, b.digest}) == 3
    assert again.digest == a.digest


@pytest.mark.parametrize("kept", [50, 400, 1197])
def test_an_epoch_as_long_as_that_of_all_images(data, kept):
    part = data.restricted(data.train_positions[:kept], epoch_images=1197)
    assert (part.steps_per_epoch, part.epoch_images) == (9, 1197)
    loader = part.train_dataloader()
    assert [len(y) for _, y in loader] == [128] * 9
    counts = torch.bincount(torch.searchsorted(part.train_positions, seen(part)), minlength=kept)
    assert counts.sum() == 9 * 128
    assert counts.max() - counts.min() <= 1
    assert torch.equal(seen(part), seen(part))
    if kept < 1197:
        first, second = seen(part)[:kept], seen(part)[kept : 2 * kept]
        assert not torch.equal(first, second)
        assert torch.equal(first.sort().values, part.train_positions)


def test_ranks_see_together_what_one_sees(data):
    part = data.restricted(data.train_positions[:300], epoch_images=1197)
    whole = [y for _, y in part.train_dataloader()]
    shares = []
    for rank in range(2):
        part.rank, part.world = rank, 2
        shares.append([y for _, y in part.train_dataloader()])
    for batch, a, b in zip(whole, *shares, strict=True):
        assert torch.equal(batch, torch.stack([a, b], dim=1).flatten())


@pytest.mark.parametrize(
    ("positions", "words"),
    [([], "none left"), ([0, 0], "each once"), ([5000], "1 not of training images")],
)
def test_what_cannot_be_kept_is_refused(data, positions, words):
    positions = [int(data.train_positions[p]) if p < 5000 else p for p in positions]
    with pytest.raises(UsageError, match=words):
        data.restricted(torch.tensor(positions, dtype=torch.int64))
