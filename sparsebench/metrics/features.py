"""Features: what the last linear layer of a network is given; what all layers give, held against another network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparsebench.errors import UsageError
from sparsebench.metrics.geometry import finite
from sparsebench.scoring import untouched


class NoLinearHead(UsageError):
    """The network does not end in a linear layer, so features and class directions have no meaning."""


@torch.no_grad()
def features(net: nn.Module, batches: Iterable) -> tuple[Tensor, Tensor, Tensor, nn.Linear]:
    """Features ``[N, d]``, logits ``[N, K]``, labels ``[N]`` and the head, all in evaluation mode.

    The head is the linear layer that is called last, the feature what it is given. The network is left as it
    was.

    Raises:
        NoLinearHead: the network's output is not that layer's, or is not one row of logits an image.
    """
    device = next(net.parameters()).device
    found = []
    with untouched(net, train=False), _last_linear(net) as last:
        for x, y in batches:
            last.clear()
            z = net(x.to(device))
            if not last or last["out"] is not z or z.ndim != 2:
                raise NoLinearHead(
                    f"geometry needs a network that ends in one linear layer, [N, d] -> [N, K]; {type(net).__name__} "
                    "does not: leave the measure out"
                )
            found.append((last["in"].double().cpu(), z.double().cpu(), y.cpu()))
    x, z, y = (torch.cat(column) for column in zip(*found, strict=True))
    return x, z, y, last["layer"]


@contextmanager
def _last_linear(net: nn.Module) -> Iterator[dict[str, Any]]:
    last: dict[str, Any] = {}

    def note(layer: nn.Module, given: tuple, out: Tensor) -> None:
        last.update({"layer": layer, "in": given[0], "out": out})

    handles = [m.register_forward_hook(note) for m in net.modules() if isinstance(m, nn.Linear)]
    try:
        yield last
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def by_layer(net: nn.Module, dense: nn.Module, batches: Sequence) -> dict[str, dict[str, float | None]]:
    """Outputs of every linear and convolutional layer against the dense network's on the same inputs.

    Returns:
        layer -> ``length``, the mean Euclidean length of an example's output; ``relative``, that over the dense
        network's; ``angle``, the mean of the degrees between the two, None where the layer has another width or one
        of the outputs is always 0.
    """
    device = next(net.parameters()).device
    sums: dict[str, np.ndarray] = {}
    with untouched(net, train=False), untouched(dense, train=False), _outputs(net) as mine, _outputs(dense) as theirs:
        for x, *_ in batches:
            net(x.to(device))
            dense(x.to(device))
            for name in mine:
                row = _against(mine[name], theirs.get(name))
                sums[name] = sums.get(name, 0) + row
    return {name: _layer(*total) for name, total in sums.items()}


def _against(a: Tensor, b: Tensor | None) -> np.ndarray:
    """Examples, sum of lengths, of the other's lengths, of angles, examples with an angle; NaN without the other."""
    a = a.flatten(1).double()
    length = a.norm(dim=1)
    if b is None or b.flatten(1).shape != a.shape:
        other = torch.full((), torch.nan) if b is None else b.flatten(1).double().norm(dim=1).sum()
        return np.array([len(a), length.sum().item(), other.item(), 0.0, 0.0])
    b = b.flatten(1).double()
    others = b.norm(dim=1)
    known = (length > 0) & (others > 0)
    cosine = (a[known] / length[known, None] * (b[known] / others[known, None])).sum(1).clamp(-1, 1)
    angle = cosine.arccos().rad2deg().sum()
    return np.array([len(a), length.sum().item(), others.sum().item(), angle.item(), known.sum().item()])


def _layer(n: float, length: float, other: float, angle: float, known: float) -> dict[str, float | None]:
    return {
        "length": finite(length / n),
        "relative": finite(length / other) if other else None,
        "angle": finite(angle / known) if known else None,
    }


@contextmanager
def _outputs(net: nn.Module) -> Iterator[dict[str, Tensor]]:
    seen: dict[str, Tensor] = {}

    def noting(name: str):
        return lambda layer, given, out: seen.__setitem__(name, out)

    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    handles = [m.register_forward_hook(noting(n)) for n, m in net.named_modules() if isinstance(m, kinds)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
