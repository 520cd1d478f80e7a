"""Unfolding: a convolution as a product of its weight ``weight.flatten(1)`` with patches of its input."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F


def patches(
    x: Tensor, kernel: tuple[int, ...], stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Tensor:
    """What a convolution multiplies its weight by: ``[B, C, *size] -> [groups, B * positions, C / groups * kernel]``.

    >>> from torch import arange
    >>> patches(arange(4.0).view(1, 1, 4), (2,), stride=2)
    tensor([[[0., 1.],
             [2., 3.]]])
    """
    dims = len(kernel)
    stride, dilation = _each(stride, dims), _each(dilation, dims)
    x = F.pad(x, _borders(padding, kernel, dilation))
    for axis, (size, step, gap) in enumerate(zip(kernel, stride, dilation, strict=True)):
        x = x.unfold(2 + axis, gap * (size - 1) + 1, step)[..., ::gap]
    x = x.unflatten(1, (groups, -1)).movedim(1, 0).movedim(2, 2 + dims)  # [groups, B, *positions, C / groups, *kernel]
    return x.flatten(2 + dims).flatten(1, 1 + dims)


def _each(value: Any, dims: int) -> tuple[int, ...]:
    """One number for each dimension."""
    return (value,) * dims if isinstance(value, int) else tuple(value) * (dims // len(value))


def _borders(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> list[int]:
    """Padding as ``F.pad`` takes it: last dimension first, before and behind."""
    if padding == "same":
        total = [gap * (size - 1) for gap, size in zip(dilation, kernel, strict=True)]
        return [side for t in reversed(total) for side in (t // 2, t - t // 2)]
    sides = _each(0 if padding == "valid" else padding, len(kernel))
    return [side for p in reversed(sides) for side in (p, p)]
