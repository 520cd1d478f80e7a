"""Multiply-accumulates of one image: dense, and with the pruned weights left out.

    dense  = sum over layers of (output positions x weights)         + attention products
    sparse = sum over layers of (output positions x kept weights)    + the same attention products

Counted are linear, convolution and attention layers and matrix products; norms, activations, pooling and
biases are not. ``dense / sparse`` is the theoretical speed-up: what a kernel that skips every pruned weight
at no cost would gain. One multiply-accumulate is two FLOPs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sparsebench.scoring import untouched
from sparsebench.trace import Trace, attention_arguments, indicators, take

_PRODUCTS = {"matmul": 0, "bmm": 0, "mm": 0, "addmm": 1, "baddbmm": 1}
"""Matrix products and which argument is the left factor."""


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one image."""

    dense: int
    sparse: int
    per_layer: dict[str, tuple[int, int]]
    """(dense, sparse) by module path, in call order."""

    @property
    def speedup(self) -> float:
        """Theoretical speed-up ``dense / sparse``; infinite if nothing is left."""
        return self.dense / self.sparse if self.sparse else float("inf")


def macs(model: nn.Module, input_shape: tuple[int, ...], masks: Mapping[str, Tensor] | None = None) -> Macs:
    """Count the work of one image by running the model once on one, in evaluation mode.

    Args:
        input_shape: of one image without the batch dimension, such as ``(3, 32, 32)``.
        masks: parameter name -> bool tensor, True = kept; a weight without a mask is fully kept.

    >>> macs(nn.Linear(4, 2), (4,), {"weight": torch.tensor([[True, False, False, False]] * 2)}).per_layer
    {'forward': (8, 2)}
    """
    param = next(model.parameters())
    counter = _Counter(model)
    with untouched(model, train=False), torch.no_grad(), counter:
        x = torch.zeros(1, *input_shape, dtype=param.dtype, device=param.device)
        functional_call(model, indicators(model, masks), (x,))
    dense, sparse = (sum(pair[i] for pair in counter.layers.values()) for i in (0, 1))
    return Macs(dense, sparse, counter.layers)


class _Counter(Trace):
    """The model runs on indicators, so the weights a function receives show how many of them are kept."""

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.layers: dict[str, tuple[int, int]] = {}

    def intercept(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        out = func(*args, **kwargs)
        if name == "linear" or (name.startswith("conv") and isinstance(out, Tensor)):
            (x, weight), *_ = take(args, kwargs, "input", "weight")
            # A transposed convolution applies its kernel at input positions, the others at output positions.
            positions = x[0, 0] if "transpose" in name else out[..., 0] if name == "linear" else out[0, 0]
            self._weights(positions.numel(), weight)
        elif name in _PRODUCTS:
            self._fixed(out.numel() * args[_PRODUCTS[name]].shape[-1])
        elif name == "einsum":
            self._fixed(_einsum_macs(*args))
        elif name == "scaled_dot_product_attention":
            (query, key), *_ = take(args, kwargs, "query", "key")
            self._fixed((query.numel() + out.numel()) * key.shape[-2])
        elif name == "multi_head_attention_forward":
            self._attention(attention_arguments(args, kwargs))
        return out

    def _attention(self, found: dict[str, Any]) -> None:
        query, key = found["query"], found["key"]
        queries, keys = query[..., 0].numel(), key[..., 0].numel()
        for weight, positions in (
            ("q_proj", queries),
            ("k_proj", keys),
            ("v_proj", keys),
            ("out_proj", queries),
        ):
            self._weights(positions, found[f"{weight}_weight"])
        self._fixed(2 * query.numel() * key.shape[0])

    def _weights(self, positions: int, weight: Tensor) -> None:
        self._add(positions * weight.numel(), positions * int(torch.count_nonzero(weight)))

    def _fixed(self, work: int) -> None:
        self._add(work, work)

    def _add(self, dense: int, sparse: int) -> None:
        before = self.layers.get(self.path, (0, 0))
        self.layers[self.path] = (before[0] + dense, before[1] + sparse)


def _einsum_macs(equation: str, *operands: Tensor) -> int:
    """Product of the sizes of all its indices."""
    sizes: dict[str, int] = {}
    for labels, operand in zip(equation.replace(" ", "").split("->")[0].split(","), operands, strict=True):
        before, _, after = labels.partition("...")
        shape = list(operand.shape)
        sizes.update(zip(before, shape, strict=False))
        sizes.update(zip(after, shape[len(shape) - len(after) :], strict=True))
        for i, size in enumerate(shape[len(before) : len(shape) - len(after)] if "..." in labels else []):
            sizes[f"...{i}"] = max(size, sizes.get(f"...{i}", 1))
    return torch.Size(sizes.values()).numel()
