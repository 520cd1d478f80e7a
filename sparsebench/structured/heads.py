"""Heads: attention that keeps query, key and value in one Linear ``qkv``, the output in ``proj`` and counts ``heads``.

The rows of ``qkv`` are ordered (query, key, value) x head x feature, the columns of ``proj`` head x feature. One
unit is one head: its rows of ``qkv`` with their biases and its columns of ``proj``.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from sparsebench.structured.units import Member, UnitGroup


def head_groups(model: nn.Module) -> Iterator[UnitGroup]:
    """One group for each attention layer whose heads can be told apart."""
    for path, module in model.named_modules():
        if _has_heads(module):
            yield _heads(f"{path}." if path else "", module)


def _has_heads(module: nn.Module) -> bool:
    qkv, proj, heads = (getattr(module, name, None) for name in ("qkv", "proj", "heads"))
    if not (isinstance(qkv, nn.Linear) and isinstance(proj, nn.Linear) and isinstance(heads, int)):
        return False
    return qkv.out_features == 3 * proj.in_features and proj.in_features % heads == 0


def _heads(prefix: str, module: nn.Module) -> UnitGroup:
    width = module.proj.in_features
    columns = torch.arange(width).view(module.heads, -1)
    rows = torch.cat([columns, columns + width, columns + 2 * width], dim=1)
    layer = [(f"{prefix}qkv.weight", "filter")]
    if module.qkv.bias is not None:
        layer.append((f"{prefix}qkv.bias", "vector"))
    return UnitGroup(
        name=layer[0][0],
        members=(
            *(Member(name, 0, rows, role) for name, role in layer),
            Member(f"{prefix}proj.weight", 1, columns, "input"),
        ),
        # A head's output is linear in its values alone.
        gates=(tuple(Member(name, 0, columns + 2 * width, role) for name, role in layer),),
        attribute=f"{prefix}heads",
    )
