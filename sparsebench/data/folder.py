"""Data sets that are folders of images: one sub-folder a class, under `train` and `val` or `test`."""

from __future__ import annotations

from pathlib import Path

from sparsebench.data.decoded import residents, small
from sparsebench.data.files import Files
from sparsebench.data.listing import Listing, class_folders, tiny_imagenet_val
from sparsebench.data.source import Source
from sparsebench.errors import UsageError
from sparsebench.registry import dataset

__all__ = ["cifar10_jpeg", "image_folder", "imagenet", "tiny_imagenet"]


@dataset(augment="crop_flip", validation=5000, split="d9330babe5aeef8e")
def cifar10_jpeg(root: Path, *, download: bool = False) -> Source:
    """CIFAR-10 re-encoded as JPEG, in <root>/cifar10-jpeg; reads a little lower than CIFAR-10 proper."""
    return image_folder(root / "cifar10-jpeg", root)


@dataset(augment="crop_flip", validation=5000)
def tiny_imagenet(root: Path, *, download: bool = False) -> Source:
    """Tiny-ImageNet: 100,000 + 10,000 colour 64x64 images, 200 classes, in <root>/tiny-imagenet-200."""
    folder = root / "tiny-imagenet-200"
    train = class_folders(folder / "train")
    annotated = (folder / "val" / "val_annotations.txt").exists()
    read = tiny_imagenet_val if annotated else class_folders
    return _source("tiny_imagenet", train, read(folder / "val", train.classes), root)


@dataset(augment="resized_crop_flip", validation=10000)
def imagenet(root: Path, *, download: bool = False) -> Source:
    """ImageNet-1k, class folders in <root>/imagenet/{train,val}; its official validation split is the test."""
    train = class_folders(root / "imagenet" / "train")
    test = class_folders(root / "imagenet" / "val", train.classes)
    return Source(Files(train), Files(test), train.classes)


def image_folder(folder: str | Path, root: Path) -> Source:
    """Any folder with `train` and `test` (or else `val`) and one sub-folder a class in each.

    Sets of small images are decoded once and kept in memory; others are read by worker processes.

    Raises:
        UsageError: a part is missing or a file cannot be read.
    """
    folder = Path(folder).expanduser()
    train = class_folders(folder / "train")
    held_out = next((folder / name for name in ("test", "val") if (folder / name).is_dir()), None)
    if held_out is None:
        raise UsageError(f"{folder.resolve()} has neither test/ nor val/: add one, laid out like train/")
    return _source(folder.name, train, class_folders(held_out, train.classes), root)


def _source(name: str, train: Listing, test: Listing, root: Path) -> Source:
    if small([train, test]):
        return Source(*residents(name, [train, test], root), train.classes)
    return Source(Files(train), Files(test), train.classes)
