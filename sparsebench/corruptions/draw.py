"""Draw: random numbers by counting, so that an image's are the same whatever else is drawn, and wherever."""

from __future__ import annotations

from hashlib import sha256
from math import pi, prod

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: steps of it visit 64 bits evenly."""


class Draw:
    """Random numbers of N images: the i-th of an image is a hash of its key and i.

    Shapes are those of one image; results are float64 ``[N, *shape]``, on the device of the keys.
    """

    def __init__(self, keys_N: Tensor) -> None:
        self.keys, self.used = keys_N, 0

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in (0, 1), of 53 bits."""
        count = prod(shape)
        turns = torch.arange(self.used + 1, self.used + count + 1, device=self.keys.device)
        self.used += count
        bits = mix(self.keys[:, None] + turns * signed(GOLDEN))
        return ((shifted(bits, 11).double() + 0.5) * 2.0**-53).view(-1, *shape)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers (Box and Muller)."""
        radius = (-2 * self.uniform(*shape).log()).sqrt()
        return radius * (2 * pi * self.uniform(*shape)).cos()


def keys(purpose: str, index_N: Tensor) -> Tensor:
    """A key of 64 bits for each image, by its index and what the numbers are for.

    >>> a = keys("digits/fog", torch.tensor([5, 9]))
    >>> bool((a == torch.stack([keys("digits/fog", torch.tensor([i]))[0] for i in (5, 9)])).all())
    True
    """
    start = int.from_bytes(sha256(purpose.encode()).digest()[:8], "big", signed=True)
    return mix(mix(index_N.to(torch.int64) * signed(GOLDEN) + start))


def mix(z: Tensor) -> Tensor:
    """A bijection of 64-bit integers in which every bit depends on every other (the finaliser of SplitMix64)."""
    z = (z ^ shifted(z, 30)) * signed(0xBF58476D1CE4E5B9)
    z = (z ^ shifted(z, 27)) * signed(0x94D049BB133111EB)
    return z ^ shifted(z, 31)


def shifted(z: Tensor, by: int) -> Tensor:
    """Right shift that fills with zeros; torch's own repeats the sign."""
    return (z >> by) & ((1 << (64 - by)) - 1)


def signed(word: int) -> int:
    """The 64-bit integer of this bit pattern, as torch has it."""
    return word - (1 << 64) if word >> 63 else word
