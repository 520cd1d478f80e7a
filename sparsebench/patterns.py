"""Patterns: masks that hardware can use, N of every M consecutive inputs or whole blocks.

Both look at a weight ``[n_out, n_in, kh, kw]`` as the matrix ``[n_out, kh * kw * n_in]``, input channels innermost,
which is how a convolution is laid out for a matrix multiplication.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from sparsebench.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

_NM = re.compile(r"^(\d+):(\d+)$")
_BLOCK = re.compile(r"^block(\d+)x(\d+)$")


@dataclass(frozen=True)
class NM:
    """In each group of ``m`` consecutive inputs of an output, the ``n`` best are kept.

    A tensor whose input dimension is no multiple of ``m`` stays dense. Source: Mishra et al. 2021, arXiv:2104.08378.

    >>> NM(2, 4).applies((8, 16, 3, 3)), NM(2, 4).applies((8, 1, 3, 3))
    (True, False)
    """

    n: int
    m: int

    @property
    def density(self) -> float:
        return self.n / self.m

    def applies(self, shape: tuple[int, ...]) -> bool:
        return len(shape) >= 2 and shape[1] % self.m == 0

    def groups(self, tensor: Tensor) -> Tensor:
        """``[n_out, n_in, ...] -> [groups, m]``."""
        return matrix(tensor).reshape(-1, self.m)

    def ungroup(self, groups: Tensor, shape: tuple[int, ...]) -> Tensor:
        return unmatrix(groups.reshape(shape[0], -1), shape)


@dataclass(frozen=True)
class Block:
    """Blocks of ``rows x columns`` entries are kept or pruned whole; those at an edge are smaller.

    >>> Block(4, 4).grid((10, 6))
    (3, 2)
    """

    rows: int
    columns: int

    def grid(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """How many blocks there are, down and across."""
        return -(-shape[0] // self.rows), -(-prod(shape[1:]) // self.columns)

    def sums(self, tensor: Tensor) -> Tensor:
        """Sum over each block, ``[n_out, n_in, ...] -> [down, across]``."""
        from torch.nn.functional import pad

        table = matrix(tensor)
        down, across = self.grid(tuple(tensor.shape))
        table = pad(table, (0, across * self.columns - table.shape[1], 0, down * self.rows - table.shape[0]))
        return table.reshape(down, self.rows, across, self.columns).sum((1, 3))

    def spread(self, blocks: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Each block's value on all its entries, ``[down, across] -> [n_out, n_in, ...]``."""
        table = blocks.repeat_interleave(self.rows, 0).repeat_interleave(self.columns, 1)
        return unmatrix(table[: shape[0], : prod(shape[1:])], shape)


Pattern = NM | Block


def pattern_of(text: str) -> Pattern | None:
    """``"2:4"`` or ``"block4x4"`` as a pattern, None for anything else.

    Raises:
        UsageError: numbers that make no pattern.

    >>> pattern_of("2:4"), pattern_of("block1x4"), pattern_of("erk")
    (NM(n=2, m=4), Block(rows=1, columns=4), None)
    """
    if match := _NM.match(text):
        n, m = map(int, match.groups())
        if not 0 < n < m:
            raise UsageError(f"pattern {text!r}: N:M keeps N of every M weights, so 0 < N < M, such as 2:4")
        return NM(n, m)
    if match := _BLOCK.match(text):
        rows, columns = map(int, match.groups())
        if rows * columns < 2:
            raise UsageError(f"pattern {text!r}: a block has at least two entries, such as block1x4")
        return Block(rows, columns)
    return None


def matrix(tensor: Tensor) -> Tensor:
    """``[n_out, n_in, kh, kw] -> [n_out, kh * kw * n_in]``, input channels innermost."""
    return (tensor.movedim(1, -1) if tensor.dim() > 1 else tensor).reshape(tensor.shape[0], -1)


def unmatrix(table: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The inverse of ``matrix``."""
    if len(shape) == 1:
        return table.reshape(shape)
    return table.reshape(shape[0], *shape[2:], shape[1]).movedim(-1, 1).contiguous()
