"""Masks: which weights of a network are kept.

An ordered map from parameter name to a bool tensor of the parameter's shape, True = kept. It holds only
the prunable tensors; every other parameter is dense by definition.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sparsebench.errors import UsageError
from sparsebench.files import write_atomic

KIND = "sparsebench.masks"


class Masks(Mapping[str, Tensor]):
    """An immutable map of bool tensors.

    >>> m = Masks({"fc.weight": torch.tensor([[True, False], [False, False]])})
    >>> m.kept, m.total, m.sparsity
    (1, 4, 0.75)
    """

    def __init__(self, tensors: Mapping[str, Tensor]):
        for name, mask in tensors.items():
            if mask.dtype != torch.bool:
                raise UsageError(f"mask {name!r} is {mask.dtype}; masks are bool, True = kept")
        self._tensors = dict(tensors)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __eq__(self, other: object) -> bool:
        """Same names, shapes and bits; the order of names does not matter."""
        return isinstance(other, Masks) and self.digest() == other.digest()

    __hash__ = None

    def __repr__(self) -> str:
        return f"Masks({len(self)} tensors, {self.kept} of {self.total} weights kept, sparsity {self.sparsity:.4f})"

    @classmethod
    def dense(cls, model: nn.Module, names: Mapping | None = None) -> Masks:
        """All-True masks for the prunable weights of a model (or for the parameters named)."""
        from sparsebench.scope import scope_of

        names = scope_of(model).prunable if names is None else names
        params = dict(model.named_parameters())
        return cls({n: torch.ones_like(params[n], dtype=torch.bool) for n in names})

    @property
    def counts(self) -> dict[str, int]:
        """Kept weights of every tensor, read from the device in one transfer."""
        if not self:
            return {}
        kept = torch.stack([m.sum() for m in self.values()]).tolist()
        return dict(zip(self, map(int, kept), strict=True))

    @property
    def kept(self) -> int:
        return sum(self.counts.values())

    @property
    def total(self) -> int:
        return sum(m.numel() for m in self.values())

    @property
    def density(self) -> float:
        return self.kept / self.total if self.total else 1.0

    @property
    def sparsity(self) -> float:
        return 1.0 - self.density

    @property
    def emptied(self) -> list[str]:
        """Names of tensors in which nothing is kept."""
        return [name for name, kept in self.counts.items() if kept == 0]

    def per_layer(self) -> dict[str, dict[str, int]]:
        return {name: {"kept": kept, "size": self[name].numel()} for name, kept in self.counts.items()}

    def digest(self) -> str:
        """Hash of names, shapes and bits; equal masks have equal digests on any device."""
        digest = sha256()
        for name in sorted(self):
            mask = self[name].cpu()
            digest.update(json.dumps([name, list(mask.shape)]).encode())
            digest.update(_pack(mask).numpy().tobytes())
        return digest.hexdigest()

    def nested_in(self, larger: Masks) -> bool:
        """Whether every weight kept here is kept there too."""
        return set(self) == set(larger) and not any((self[n] & ~larger[n].to(self[n].device)).any() for n in self)

    def to(self, device: torch.device | str) -> Masks:
        return Masks({name: mask.to(device) for name, mask in self.items()})

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Set the pruned weights of a model to exactly 0.

        Raises:
            UsageError: the model lacks a masked parameter, or its shape differs.
        """
        params = dict(model.named_parameters())
        for name, mask in self.items():
            if name not in params or params[name].shape != mask.shape:
                got = tuple(params[name].shape) if name in params else "no such parameter"
                raise UsageError(
                    f"mask {name!r} has shape {tuple(mask.shape)}, the model has {got}: "
                    "these masks belong to another network"
                )
        for name, mask in self.items():
            params[name].masked_fill_(~mask.to(params[name].device), 0.0)

    def save(self, path: str | Path) -> None:
        """Write as safetensors (one uint8 per weight), atomically."""
        tensors = {name: mask.to("cpu", torch.uint8).contiguous() for name, mask in self.items()}
        # One metadata key: safetensors writes several in no fixed order, and equal masks shall be equal files.
        write_atomic(Path(path), save(tensors, metadata={KIND: json.dumps(list(self))}))

    @classmethod
    def load(cls, path: str | Path) -> Masks:
        """Read what ``save`` wrote.

        Raises:
            UsageError: the file is missing, damaged or holds something else.
        """
        try:
            with safe_open(str(path), framework="pt") as file:
                meta = file.metadata() or {}
                if KIND not in meta:
                    raise UsageError(f"{path} does not hold masks: its metadata has no {KIND!r}")
                return cls({name: file.get_tensor(name).bool() for name in json.loads(meta[KIND])})
        except (SafetensorError, OSError) as error:
            raise UsageError(f"masks at {path} cannot be read: {error}") from error


def _pack(mask: Tensor) -> Tensor:
    """Eight bools to a byte."""
    bits = mask.flatten().to(torch.uint8)
    bits = torch.nn.functional.pad(bits, (0, -bits.numel() % 8)).view(-1, 8)
    return (bits << torch.arange(8, dtype=torch.uint8)).sum(1).to(torch.uint8)
