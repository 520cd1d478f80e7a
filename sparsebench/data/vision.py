"""Data sets that torchvision reads: MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from sparsebench.data.source import Resident, Source
from sparsebench.errors import UsageError
from sparsebench.registry import dataset

__all__ = ["cifar10", "cifar100", "fashion_mnist", "mnist"]


@dataset(augment="none", validation=5000)
def mnist(root: Path, *, download: bool = False) -> Source:
    """MNIST: 60,000 + 10,000 grey 28x28 digits, 10 classes."""
    return _idx("mnist", "MNIST", root, download)


@dataset(augment="none", validation=5000)
def fashion_mnist(root: Path, *, download: bool = False) -> Source:
    """Fashion-MNIST: 60,000 + 10,000 grey 28x28 pieces of clothing, 10 classes."""
    return _idx("fashion_mnist", "FashionMNIST", root, download)


@dataset(augment="crop_flip", validation=5000)
def cifar10(root: Path, *, download: bool = False) -> Source:
    """CIFAR-10: 50,000 + 10,000 colour 32x32 images, 10 classes."""
    return _cifar("cifar10", "CIFAR10", root, download)


@dataset(augment="crop_flip", validation=5000)
def cifar100(root: Path, *, download: bool = False) -> Source:
    """CIFAR-100: 50,000 + 10,000 colour 32x32 images, 100 classes."""
    return _cifar("cifar100", "CIFAR100", root, download)


def _idx(name: str, class_name: str, root: Path, download: bool) -> Source:
    from torchvision import datasets
    from torchvision.datasets.utils import extract_archive

    raw = root / class_name / "raw"
    for packed in raw.glob("*-ubyte.gz"):
        if not packed.with_suffix("").exists():
            extract_archive(str(packed))
    sets = _read(name, getattr(datasets, class_name), root, raw, download)
    train, test = (Resident(s.data[:, None], s.targets) for s in sets)
    return Source(train, test, tuple(sets[0].classes))


def _cifar(name: str, class_name: str, root: Path, download: bool) -> Source:
    from torchvision import datasets

    reader = getattr(datasets, class_name)
    sets = _read(name, reader, root, root / reader.base_folder, download)
    train, test = (Resident(_channels_first(s.data), torch.tensor(s.targets)) for s in sets)
    return Source(train, test, tuple(sets[0].classes))


def _channels_first(images_NHWC) -> Tensor:
    return torch.from_numpy(images_NHWC).permute(0, 3, 1, 2)


def _read(name: str, reader: type, root: Path, folder: Path, download: bool) -> list:
    """The training and the test set, by torchvision, which checks the files' MD5 where it knows them."""
    try:
        return [reader(str(root), train=train, download=download) for train in (True, False)]
    except (RuntimeError, URLError, OSError) as error:
        raise UsageError(
            f"{name}: no intact copy in {folder.resolve()} ({error}): add --download, "
            f"copy the files there, or name another folder by --data or SPARSEBENCH_DATA"
        ) from error
