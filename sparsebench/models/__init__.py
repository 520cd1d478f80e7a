"""Networks: functions with ``@network``, one file a family, and those of torchvision and timm by prefix.

Importing this package costs nothing; torch comes with the first network that is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparsebench.errors import UsageError
from sparsebench.registry import network

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build"]


def build(name: str, input_shape: tuple[int, int, int], num_classes: int, **args: Any) -> nn.Module:
    """A freshly initialised network for images (C, H, W); weights are drawn from torch's global generator.

    Args:
        name: a registered network, ``torchvision:NAME`` or ``timm:NAME``.
        args: what the network lets its user set.

    Raises:
        UsageError: unknown name or argument, or a network that cannot take such images.

    >>> build("mlp", (1, 8, 8), 10, hidden=(30,)).fc1
    Linear(in_features=64, out_features=30, bias=True)
    """
    library, _, model = name.partition(":")
    if model:
        from sparsebench.models.external import build_external

        return build_external(library, model, tuple(input_shape), num_classes, **args)
    allowed = network.entry(name).params
    for argument in args:
        if argument not in allowed:
            options = ", ".join(allowed) or "nothing"
            raise UsageError(f"network {name!r} has no argument {argument!r}: it lets you set {options}")
    return network.get(name)(tuple(input_shape), num_classes, **args)
