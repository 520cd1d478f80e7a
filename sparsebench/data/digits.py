"""The 8x8 digits that scikit-learn ships: no download, seconds to train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sparsebench.data.source import Resident, Source
from sparsebench.data.splits import check_split, stratified
from sparsebench.registry import dataset

__all__ = ["digits"]

TEST_IMAGES = 400
TEST_DIGEST = "e0c7c48b9f6a2648"


@dataset(embedded=True, augment="none", validation=200, split="113467e0c8c8edcd")
def digits(root: Path, *, download: bool = False) -> Source:
    """1,797 grey 8x8 handwritten digits of scikit-learn (UCI): 1,197 train, 200 validation, 400 test."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(np.rint(bunch.images * (255 / 16)).astype(np.uint8))[:, None]
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    rest, test = stratified(bunch.target, TEST_IMAGES, "digits/test")
    check_split("digits test", TEST_DIGEST, rest=rest, test=test)
    return Source(
        train=Resident(images[rest], labels[rest]),
        test=Resident(images[test], labels[test]),
        classes=tuple(str(digit) for digit in range(10)),
    )
