"""Listings: which image files a data set consists of, in a fixed order, and their labels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from sparsebench.errors import UsageError

__all__ = ["Listing", "class_folders", "tiny_imagenet_val"]

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class Listing:
    """Files of one split, sorted by class folder and name."""

    folder: Path
    names: list[str]
    """Paths relative to the folder."""
    sizes: list[int]
    """Bytes of every file."""
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def path(self, position: int) -> str:
        return os.path.join(self.folder, self.names[position])

    def digest(self) -> str:
        """SHA-256 over names, sizes and labels: changes with the files, but costs no reading of them."""
        lines = zip(self.names, self.sizes, self.labels.tolist(), strict=True)
        return sha256("\n".join(f"{n}\t{s}\t{y}" for n, s, y in lines).encode()).hexdigest()


def class_folders(folder: Path, classes: tuple[str, ...] | None = None) -> Listing:
    """The images under one sub-folder a class; labels follow the sorted folder names.

    Args:
        classes: the classes of the training split, which these must be among.

    Raises:
        UsageError: the folder is missing or has no class folders, an empty class, or an unknown one.
    """
    if not folder.is_dir():
        raise UsageError(
            f"no images at {folder.resolve()}: copy them there, one folder a class, "
            "or name another folder by --data or SPARSEBENCH_DATA"
        )
    found = sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))
    classes = classes or tuple(found)
    if not found or not set(found) <= set(classes):
        strangers = sorted(set(found) - set(classes))
        what = f"folders that are no class of training, {strangers[:3]}" if strangers else "no class folders"
        raise UsageError(f"{folder.resolve()} has {what}: put the images into one folder a class")
    names, sizes, labels = [], [], []
    for name in found:
        files = _image_files(folder / name)
        names += [f"{name}/{file}" for file, _ in files]
        sizes += [size for _, size in files]
        labels += [classes.index(name)] * len(files)
    return Listing(folder, names, sizes, torch.tensor(labels), classes)


def tiny_imagenet_val(folder: Path, classes: tuple[str, ...]) -> Listing:
    """Tiny-ImageNet's validation split as published: one `images` folder and `val_annotations.txt`.

    Raises:
        UsageError: a listed file is missing.
    """
    label_of = {name: label for label, name in enumerate(classes)}
    size_of = dict(_image_files(folder / "images"))
    annotations = (folder / "val_annotations.txt").read_text()
    rows = [line.split("\t")[:2] for line in annotations.splitlines() if line]
    rows.sort(key=lambda row: (label_of[row[1]], row[0]))
    missing = [file for file, _ in rows if file not in size_of]
    if missing:
        raise UsageError(f"{folder}: {len(missing)} listed images are missing ({missing[0]}): unpack it anew")
    return Listing(
        folder,
        [f"images/{file}" for file, _ in rows],
        [size_of[file] for file, _ in rows],
        torch.tensor([label_of[name] for _, name in rows]),
        classes,
    )


def _image_files(folder: Path) -> list[tuple[str, int]]:
    """(path relative to the folder, bytes) of its images, those in an `images` sub-folder included."""
    inner = folder / "images"
    prefix, place = ("images/", inner) if inner.is_dir() else ("", folder)
    with os.scandir(place) as entries:
        files = [(prefix + e.name, e.stat().st_size) for e in entries if e.name.lower().endswith(EXTENSIONS)]
    if not files:
        raise UsageError(f"{place.resolve()} holds no image ({' '.join(EXTENSIONS)}): fill or remove it")
    return sorted(files)
