"""Small files in the formats of the real data sets, written here and read back."""

from __future__ import annotations

import gzip
import pickle
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from sparsebench.data import data_root, decoded, load
from sparsebench.data.files import Files
from sparsebench.data.module import DataModule
from sparsebench.data.source import Resident
from sparsebench.errors import UsageError

RNG = np.random.default_rng(0)


def write_idx(path, array: np.ndarray) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as file:
        file.write(header + array.tobytes())


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx(tmp_path, name, folder, suffix):
    raw = tmp_path / folder / "raw"
    raw.mkdir(parents=True)
    truth = {}
    for part, n in (("train", 30), ("t10k", 20)):
        truth[part] = RNG.integers(0, 256, (n, 28, 28), dtype=np.uint8), np.arange(n, dtype=np.uint8) % 10
        write_idx(raw / f"{part}-images-idx3-ubyte{suffix}", truth[part][0])
        write_idx(raw / f"{part}-labels-idx1-ubyte{suffix}", truth[part][1])
    source = load(name, tmp_path)
    for split, part in ((source.train, "train"), (source.test, "t10k")):
        assert np.array_equal(split.images[:, 0].numpy(), truth[part][0])
        assert np.array_equal(split.labels.numpy(), truth[part][1])
    assert source.train.shape == (1, 28, 28)
    assert len(source.classes) == 10


@pytest.mark.parametrize(("name", "reader"), [("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)])
def test_cifar_pickles(tmp_path, monkeypatch, name, reader):
    """torchvision knows the MD5 of the real files; for ours the sums are taken off its list."""
    key, classes = ("labels", 10) if name == "cifar10" else ("fine_labels", 100)
    monkeypatch.setattr(reader, "train_list", [[file, None] for file, _ in reader.train_list])
    monkeypatch.setattr(reader, "test_list", [[file, None] for file, _ in reader.test_list])
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": None})
    folder = tmp_path / reader.base_folder
    folder.mkdir()
    images = {}
    for file, _ in reader.train_list + reader.test_list:
        images[file] = RNG.integers(0, 256, (classes, 3072), dtype=np.uint8)
        (folder / file).write_bytes(pickle.dumps({"data": images[file], key: list(range(classes))}))
    names = [f"class{i}" for i in range(classes)]
    (folder / reader.meta["filename"]).write_bytes(pickle.dumps({reader.meta["key"]: names}))
    source = load(name, tmp_path)
    train = np.concatenate([images[file] for file, _ in reader.train_list]).reshape(-1, 3, 32, 32)
    assert np.array_equal(source.train.images.numpy(), train)
    assert source.test.labels.tolist() == list(range(classes))
    assert source.classes == tuple(names)


@pytest.mark.parametrize(
    "name", ["mnist", "fashion_mnist", "cifar10", "cifar100", "tiny_imagenet", "imagenet", "cifar10_jpeg"]
)
def test_missing_data_names_folder_and_remedy(tmp_path, name):
    with pytest.raises(UsageError) as error:
        load(name, tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in str(error.value)
    assert "copy" in str(error.value)
    assert "SPARSEBENCH_DATA" in str(error.value)


def test_damaged_cifar_is_refused(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for file, _ in datasets.CIFAR10.train_list + datasets.CIFAR10.test_list:
        (folder / file).write_bytes(b"not it")
    with pytest.raises(UsageError, match="no intact copy"):
        load("cifar10", tmp_path)


def write_images(folder, classes, n, size=(8, 6), suffix=".png") -> dict[str, np.ndarray]:
    """Images ``<class>/<i>`` of random pixels, by their path relative to the folder."""
    written = {}
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(n):
            pixels = RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            file = folder / name / f"{i}{suffix}"
            Image.fromarray(pixels).save(file)
            with Image.open(file) as image:
                written[f"{name}/{i}"] = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    return written


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG"])
@pytest.mark.parametrize("held_out", ["test", "val"])
def test_folder_of_small_images_is_resident(tmp_path, suffix, held_out):
    train = write_images(tmp_path / "set" / "train", ["b", "a"], 5, suffix=suffix)
    test = write_images(tmp_path / "set" / held_out, ["a"], 2, suffix=suffix)
    source = load(f"imagefolder:{tmp_path / 'set'}", tmp_path)
    assert source.classes == ("a", "b")
    assert source.train.labels.tolist() == [0] * 5 + [1] * 5
    assert np.array_equal(source.train.images.numpy(), np.stack([train[k] for k in sorted(train)]))
    assert np.array_equal(source.test.images.numpy(), np.stack([test[k] for k in sorted(test)]))


def test_folder_is_decoded_once_and_again_when_files_change(tmp_path, monkeypatch):
    write_images(tmp_path / "set" / "train", ["a", "b"], 5)
    write_images(tmp_path / "set" / "test", ["a", "b"], 2)
    calls = []
    real = decoded.decode
    monkeypatch.setattr(decoded, "decode", lambda listing: calls.append(1) or real(listing))
    name = f"imagefolder:{tmp_path / 'set'}"
    first = DataModule(name, 4, root=tmp_path)
    second = DataModule(name, 4, root=tmp_path)
    assert first.digest == second.digest
    assert len(calls) == 2
    write_images(tmp_path / "set" / "train", ["c"], 5)
    write_images(tmp_path / "set" / "test", ["c"], 2)
    assert DataModule(name, 4, root=tmp_path).digest != first.digest
    assert len(calls) == 4


def test_truncated_cache_is_made_anew(tmp_path):
    write_images(tmp_path / "set" / "train", ["a", "b"], 5)
    write_images(tmp_path / "set" / "test", ["a", "b"], 2)
    name = f"imagefolder:{tmp_path / 'set'}"
    digest = DataModule(name, 4, root=tmp_path).digest
    (cache,) = (tmp_path / decoded.CACHE_FOLDER).glob("*.safetensors")
    cache.write_bytes(cache.read_bytes()[:-9])
    assert DataModule(name, 4, root=tmp_path).digest == digest


def test_tiny_imagenets_own_layout(tmp_path):
    folder = tmp_path / "tiny-imagenet-200"
    train = write_images(folder / "train", ["n02/images", "n01/images"], 4, size=(64, 64), suffix=".JPEG")
    val = write_images(folder / "val", ["images"], 3, size=(64, 64), suffix=".JPEG")
    rows = [("0.JPEG", "n02"), ("1.JPEG", "n01"), ("2.JPEG", "n02")]
    (folder / "val" / "val_annotations.txt").write_text("".join(f"{file}\t{name}\t0\t0\t9\t9\n" for file, name in rows))
    source = load("tiny_imagenet", tmp_path)
    assert source.classes == ("n01", "n02")
    assert source.train.labels.tolist() == [0] * 4 + [1] * 4
    assert np.array_equal(source.train.images[4].numpy(), train["n02/images/0"])
    assert source.test.labels.tolist() == [0, 1, 1]
    assert np.array_equal(source.test.images.numpy(), np.stack([val[f"images/{i}"] for i in (1, 0, 2)]))


@pytest.fixture
def photographs(tmp_path) -> DataModule:
    write_images(tmp_path / "imagenet" / "train", ["n01", "n02"], 10, size=(90, 70), suffix=".JPEG")
    write_images(tmp_path / "imagenet" / "val", ["n01", "n02"], 2, size=(90, 70), suffix=".JPEG")
    data = DataModule("imagenet", 4, root=tmp_path)
    data.setup()
    data._source.train.workers = data._source.test.workers = 0
    return data


def test_large_images_go_through_workers_reproducibly(photographs):
    assert isinstance(photographs._source.train, Files)
    loader = photographs.train_dataloader()
    state = torch.get_rng_state()
    first = list(loader)
    assert torch.equal(state, torch.get_rng_state())
    assert first[0][0].shape == (4, 3, 224, 224)
    photographs._source.train.workers = 2
    again = list(loader)
    assert all(torch.equal(a, b) for one, two in zip(first, again, strict=True) for a, b in zip(one, two, strict=True))
    loader.set_epoch(1)
    assert not torch.equal(next(iter(loader))[0], first[0][0])


def test_large_images_are_sharded_like_small_ones(photographs):
    whole = next(iter(photographs.train_dataloader()))[0]
    photographs.rank, photographs.world = 1, 2
    assert torch.equal(next(iter(photographs.train_dataloader()))[0], whole[1::2])


def test_large_images_are_evaluated_by_their_centre(photographs):
    (x, y), *_ = photographs.test_dataloader()
    assert x.shape == (4, 3, 224, 224)
    assert y.tolist() == [0, 0, 1, 1]
    assert torch.equal(next(iter(photographs.test_dataloader()))[0], x)


def test_large_image_folder_is_found_out(tmp_path):
    write_images(tmp_path / "set" / "train", ["a", "b"], 3, size=(65, 10))
    write_images(tmp_path / "set" / "val", ["a", "b"], 1, size=(65, 10))
    assert isinstance(load(f"imagefolder:{tmp_path / 'set'}", tmp_path).train, Files)


def spoil_size(folder):
    Image.new("RGB", (9, 9)).save(folder / "train" / "a" / "1.png")


def spoil_file(folder):
    (folder / "train" / "a" / "1.png").write_bytes(b"no image")


def add_stranger(folder):
    write_images(folder / "test", ["z"], 1)


def empty_class(folder):
    (folder / "train" / "c").mkdir()


def no_test(folder):
    (folder / "test").rename(folder / "other")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (spoil_size, "1.png: is 9x9, the first image 8x6: resize all"),
        (spoil_file, "1.png: cannot be decoded"),
        (add_stranger, "no class of training, .'z'"),
        (empty_class, "holds no image"),
        (no_test, "neither test/ nor val/"),
    ],
)
def test_bad_folders_are_explained(tmp_path, harm, message):
    folder = tmp_path / "set"
    write_images(folder / "train", ["a", "b"], 3)
    write_images(folder / "test", ["a", "b"], 1)
    harm(folder)
    with pytest.raises(UsageError, match=message):
        load(f"imagefolder:{folder}", tmp_path)


def test_root_is_argument_then_environment_then_data(monkeypatch):
    monkeypatch.setenv("SPARSEBENCH_DATA", "/there")
    assert str(data_root("/here")) == "/here"
    assert str(data_root()) == "/there"
    monkeypatch.delenv("SPARSEBENCH_DATA")
    assert str(data_root()) == "data"


def test_statistics_equal_numpys():
    images = torch.from_numpy(RNG.integers(0, 256, (50, 3, 5, 4), dtype=np.uint8))
    positions = torch.arange(0, 50, 3)
    mean, std = Resident(images, torch.zeros(50)).statistics(positions)
    chosen = images[positions].numpy().astype(np.float64)
    np.testing.assert_allclose(mean, chosen.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(std, chosen.std((0, 2, 3)), rtol=1e-6)
