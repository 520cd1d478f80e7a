"""Decode once: folders of small images become one uint8 tensor, kept in `.sparsebench-cache`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sparsebench.data.listing import Listing
from sparsebench.data.source import Resident
from sparsebench.errors import UsageError

__all__ = ["CACHE_FOLDER", "decode", "residents", "small"]

CACHE_FOLDER = ".sparsebench-cache"
LARGEST_SIDE = 64
LARGEST_SET = 2 * 2**30
SAMPLED_FILES = 64


def small(listings: Sequence[Listing]) -> bool:
    """Whether all sides are at most 64 pixels (64 files of every split are looked at) and the set fits in 2 GiB."""
    total = 0
    for listing in listings:
        sampled = range(0, len(listing), max(1, len(listing) // SAMPLED_FILES))
        sides = [_size(listing.path(i)) for i in sampled]
        if max(max(side) for side in sides) > LARGEST_SIDE:
            return False
        total += len(listing) * 3 * max(width * height for width, height in sides)
    return total <= LARGEST_SET


def residents(name: str, listings: Sequence[Listing], root: Path) -> list[Resident]:
    """The images of every split, decoded now or read from the cache of an earlier time.

    The cache file's name holds a digest of all file names and sizes, so changed files are decoded anew.
    """
    key = sha256("".join(listing.digest() for listing in listings).encode()).hexdigest()[:16]
    path = root / CACHE_FOLDER / f"{name}-{key}.safetensors"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            images = _read(path, len(listings)) or _store(path, [decode(listing) for listing in listings])
    except OSError as error:
        if path.parent.is_dir() and os.access(path.parent, os.W_OK):
            raise
        warnings.warn(f"{path.parent} cannot be written ({error}): decoding at every start", stacklevel=2)
        images = [decode(listing) for listing in listings]
    return [Resident(x, listing.labels) for x, listing in zip(images, listings, strict=True)]


def decode(listing: Listing) -> Tensor:
    """All images as RGB, uint8 [N, 3, H, W]; about 7,000 images of 32x32 a second.

    Raises:
        UsageError: a file cannot be decoded, or images differ in size.
    """
    width, height = _size(listing.path(0))
    out = np.empty((len(listing), height, width, 3), dtype=np.uint8)
    for position in range(len(listing)):
        path = listing.path(position)
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
        except OSError as error:
            raise UsageError(f"{path}: cannot be decoded ({error}): replace or remove it") from error
        if pixels.shape != out.shape[1:]:
            own = f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise UsageError(f"{path}: is {own}, the first image {width}x{height}: resize all to one size")
        out[position] = pixels
    return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()


def _size(path: str) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.size
    except OSError as error:
        raise UsageError(f"{path}: cannot be decoded ({error}): replace or remove it") from error


def _read(path: Path, splits: int) -> list[Tensor] | None:
    """The cached tensors, or None where there is no intact file."""
    try:
        tensors = load_file(path)
        return [tensors[str(i)] for i in range(splits)]
    except (FileNotFoundError, SafetensorError, KeyError):
        return None


def _store(path: Path, images: list[Tensor]) -> list[Tensor]:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        save_file({str(i): x for i, x in enumerate(images)}, temporary)
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return images
