"""The data module on the digits: splits, statistics, what is handed out and how often."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from sparsebench.data.module import DataModule
from sparsebench.errors import UsageError

DIGEST = "f1fa5f510aa737fac20310d5e2aa0982bf50474f0718175762b43a38c786abbc"


@pytest.fixture
def data() -> DataModule:
    module = DataModule("digits", 128)
    module.prepare_data()
    module.setup("fit")
    return module


def pixels(data: DataModule, x: torch.Tensor) -> list[bytes]:
    """Original 0..16 images, as something hashable."""
    normalise = data._normalise
    grey = (x / normalise.scale + normalise.mean) * 16 / 255
    return [image.tobytes() for image in grey.round().to(torch.uint8).numpy()]


def test_facts(data):
    assert (data.name, data.input_shape, data.num_classes, data.train_size) == ("digits", (1, 8, 8), 10, 1197)
    assert data.digest == DIGEST


def test_splits_are_the_whole_set_without_overlap(data):
    data.global_batch = 1197
    parts = [list(data.train_dataloader()), list(data.val_dataloader()), list(data.test_dataloader())]
    sizes = [sum(len(y) for _, y in part) for part in parts]
    assert sizes == [1197, 200, 400]
    found = sorted((p, int(t)) for part in parts for x, y in part for p, t in zip(pixels(data, x), y, strict=True))
    bunch = load_digits()
    truth = [(im.astype(np.uint8).tobytes(), int(t)) for im, t in zip(bunch.images, bunch.target, strict=True)]
    assert found == sorted(truth)


def test_normalised_by_training_statistics(data):
    data.global_batch = 1197
    x = next(iter(data.train_dataloader()))[0]
    assert x.dtype == torch.float32
    assert abs(float(x.mean())) < 1e-5
    assert abs(float(x.std(correction=0)) - 1) < 1e-5


def test_only_training_is_augmented():
    plain, moved = DataModule("digits", 128, augment=None), DataModule("digits", 128, augment="shift1")
    for hand_out in (DataModule.val_dataloader, DataModule.test_dataloader, DataModule.probe):
        for (a, _), (b, _) in zip(hand_out(plain), hand_out(moved), strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(next(iter(plain.train_dataloader()))[0], next(iter(moved.train_dataloader()))[0])


def test_readings_of_the_test_split_are_counted(data):
    list(data.val_dataloader()), data.probe(10), data.per_class(1, 0), data.train_dataloader(), data.digest
    assert data.test_reads == 0
    data.test_dataloader()
    assert (data.test_reads, data.corrupted_reads) == (1, 0)
    next(data.corrupted("sample5"))
    assert (data.test_reads, data.corrupted_reads) == (1, 1)


def test_probe_is_fixed_nested_and_of_training(data):
    data.eval_batch = 100
    images = [p for x, _ in data.probe(250) for p in pixels(data, x)]
    assert len(images) == 250
    data.seed = 7
    assert images[:30] == [p for x, _ in data.probe(30) for p in pixels(data, x)]
    data.global_batch = 1197
    assert set(images) <= set(pixels(data, next(iter(data.train_dataloader()))[0]))


def test_per_class_has_k_of_each_in_turn(data):
    data.eval_batch = 16
    batches = data.per_class(3, seed=1)
    labels = torch.cat([y for _, y in batches])
    assert labels.tolist() == list(range(10)) * 3
    first = torch.cat([x for x, _ in batches])
    assert len(set(pixels(data, first))) == 30
    assert torch.equal(first, torch.cat([x for x, _ in data.per_class(3, seed=1)]))
    assert not torch.equal(first, torch.cat([x for x, _ in data.per_class(3, seed=2)]))


def test_more_of_a_class_than_there_are(data):
    with pytest.raises(UsageError, match="ask for fewer"):
        data.per_class(1000, 0)


def test_transfer_to_the_same_device_copies_nothing(data):
    batch = next(iter(data.val_dataloader()))
    moved = data.transfer_batch_to_device(batch, torch.device("cpu"), 0)
    assert all(a is b for a, b in zip(batch, moved, strict=True))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"dataset": "digit"}, "did you mean 'digits'"),
        ({"augment": "shift"}, "did you mean 'shift1'"),
        ({"augment": "resized_crop_flip"}, "does not suit digits: choose one of none, shift1"),
        ({"global_batch": 0}, "at least 1"),
    ],
)
def test_what_is_impossible_is_explained(kwargs, message):
    with pytest.raises(UsageError, match=message):
        DataModule(**{"dataset": "digits", "global_batch": 128, **kwargs}).setup()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_serves_the_same_batches():
    for name in ("none", "shift1", "crop_flip"):
        host = DataModule("digits", 128, augment=name).train_dataloader()
        device = DataModule("digits", 128, augment=name, device="cuda").train_dataloader()
        for (x, y), (x_gpu, y_gpu) in zip(host, device, strict=True):
            assert x_gpu.is_cuda
            torch.testing.assert_close(x_gpu.cpu(), x)
            assert torch.equal(y_gpu.cpu(), y)


def test_a_subset_is_part_of_the_whole_with_every_class_in_proportion(data):
    some = DataModule("digits", 1197, subset={"train": 300, "test": 100})
    whole = {part: read(data, part) for part in ("train", "val", "test")}
    found = {part: read(some, part) for part in whole}
    assert {part: len(images) for part, images in found.items()} == {"train": 300, "val": 200, "test": 100}
    assert (some.train_size, some.test_size) == (300, 100)
    assert found["val"] == whole["val"]
    for part, images in found.items():
        assert set(images) <= set(whole[part])
        share = len(images) / len(whole[part])
        for label in range(10):
            assert abs(count(images, label) - share * count(whole[part], label)) < 1
    digests = {DataModule("digits", 128, subset=s).digest for s in ({}, {"train": 300}, {"test": 100}, some.subset)}
    assert len(digests) == 4
    assert data.digest in digests


def read(data: DataModule, part: str) -> list[tuple[bytes, int]]:
    data.global_batch = data.train_size
    batches = getattr(data, f"{part}_dataloader")()
    return sorted((image, int(y)) for x, t in batches for image, y in zip(pixels(data, x), t, strict=True))


def count(images: list[tuple[bytes, int]], label: int) -> int:
    return sum(y == label for _, y in images)


@pytest.mark.parametrize(
    ("subset", "said"),
    [
        ({"tset": 100}, "unknown part of the data 'tset': did you mean 'test'?"),
        ({"test": 401}, "from 10, the number of classes, to 400, the images there are"),
        ({"train": 9}, "subset train=9 must be a whole number from 10"),
        ({"train": 0.5}, "subset train=0.5 must be"),
    ],
)
def test_an_impossible_subset_is_refused(subset, said):
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        DataModule("digits", 128, subset=subset).setup()
