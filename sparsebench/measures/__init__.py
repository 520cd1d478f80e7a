"""Measures: what a board may ask of every finished network beyond its record's usual numbers. One file each.

A measure is a function ``measure(subject) -> dict`` of JSON values, which land in ``record["measures"][name]``. A board
asks by the key ``measures: [geometry]``. No training depends on measures; a cell's name holds those asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsebench.files import write_atomic

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sparsebench.masks import Masks


@dataclass(frozen=True)
class Subject:
    """A finished network, and what it may be held against."""

    net: nn.Module
    masks: Masks | None
    dense: nn.Module
    """The dense network of the same task and seed; of the dense cell its own."""
    data: Any
    """The data module, whose test split is read by ``clean`` and ``spoilt`` and in no other way."""
    clean: Iterable
    """Batches of all test images in their order, as often as wanted."""
    spoilt: Callable[[], Iterator]
    """Pairs of what is shown (``Views``) and batches of those corrupted test images."""
    logits: Tensor
    """[N, K], of the clean test images."""
    labels: Tensor
    folder: Path
    """Where files of this cell may be kept, ``<store>/measures/<cell>``."""
    kept: list[str] = field(default_factory=list)

    def keep(self, name: str, tensors: Mapping[str, Tensor]) -> Path:
        """Store tensors beside the record, for pages that show single images; records hold what is compared."""
        from safetensors.torch import save

        path = self.folder / f"{name}.safetensors"
        write_atomic(path, save({key: value.contiguous().cpu() for key, value in tensors.items()}))
        self.kept.append(path.name)
        return path
