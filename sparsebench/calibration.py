"""Calibration: statistics of what flows into each prunable weight.

A weight is looked at as the matrix ``weight.flatten(1)`` in equal blocks of rows with inputs of their own,
``[groups, rows, columns]``: the groups of a convolution, query, key and value of a joint attention projection, one
block otherwise. Its inputs are vectors in the order of those columns: tokens, or patches of a convolution unfolded.
Weights are recognised in the torch functions that receive them, whatever module calls these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from sparsebench.errors import UsageError
from sparsebench.ranks import several
from sparsebench.scoring import Loss
from sparsebench.trace import Trace, attention_arguments, take
from sparsebench.unfold import patches

CHUNK = 2**24
"""Numbers of unfolded input held at a time: 128 MiB."""

Inputs = Iterator[Tensor]
"""Pieces ``[groups, n, columns]`` of the inputs of one weight in one call, made when they are asked for."""


def second_moments(model: nn.Module, params: dict[str, Tensor], batches: Iterable, loss: Loss) -> dict[str, Tensor]:
    """``mean of x x^T`` over the input vectors x of each weight: all positions, images, batches and ranks.

    Products and sums are float64: what is built on them is inverted, which amplifies rounding by the condition number.
    Only the weights in ``params`` are looked at, and from the second batch on the forward pass ends behind the last of
    them (a batch is taken to use a weight as often as the first one did). The caller has set the mode.

    Returns:
        ``{name: [groups, columns, columns]}``, float64.

    Raises:
        UsageError: no batches, or a weight whose inputs cannot be seen.
    """
    sums = _sums(model, params, batches, loss, lambda x: x.mT @ x)
    return {name: total / count for name, (total, count) in sums.items()}


def feature_norms(model: nn.Module, params: dict[str, Tensor], batches: Iterable, loss: Loss) -> dict[str, Tensor]:
    """``||X_j||_2``, the root of the sum (not of the mean) of squares of each input feature; else as second_moments.

    Returns:
        ``{name: [groups, columns]}``, float64.
    """
    sums = _sums(model, params, batches, loss, lambda x: x.square().sum(1))
    return {name: total.sqrt() for name, (total, _) in sums.items()}


def forward_order(model: nn.Module, params: dict[str, Tensor], batch: Any, loss: Loss) -> list[str]:
    """Names of the weights in the order in which the forward pass first uses them.

    Raises:
        UsageError: a weight whose inputs cannot be seen.
    """
    order: dict[str, None] = {}
    with torch.no_grad(), _InputTrace(model, params, lambda name, _: order.setdefault(name)):
        loss(model, batch)
    _check_seen(params, order)
    return list(order)


class _Enough(Exception):
    """All weights asked for have been used; the rest of the forward pass is not needed."""


class _InputTrace(Trace):
    """Calls ``see(name, inputs)`` for every use of the chosen weights."""

    def __init__(self, model: nn.Module, params: dict[str, Tensor], see: Callable[[str, Inputs], None]):
        super().__init__(model)
        self._names = {id(param): name for name, param in params.items()}
        self._see = see

    def intercept(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        if name == "linear":
            (x, weight), *_ = take(args, kwargs, "input", "weight")
            self._offer(weight, lambda: _pieces(_vectors(x)))
        elif name in ("conv1d", "conv2d", "conv3d"):
            names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
            (x, weight, _, *geometry), *_ = take(args, kwargs, *names)
            given = {key: value for key, value in zip(names[3:], geometry, strict=True) if value is not None}
            self._offer(weight, lambda: _patch_pieces(x, tuple(weight.shape[2:]), given))
        elif name == "multi_head_attention_forward":
            self._attention(func, attention_arguments(args, kwargs))
        return func(*args, **kwargs)

    def _attention(self, func: Any, found: dict[str, Any]) -> None:
        streams = [_vectors(found[part]) for part in ("query", "key", "value")]
        # Queries and keys may differ in number: rows of zeros add nothing to a sum of squares or products.
        self._offer(found["in_proj_weight"], lambda: _pieces(pad_sequence([s[0] for s in streams], batch_first=True)))
        if found.get("use_separate_proj_weight"):
            for part, stream in zip("qkv", streams, strict=True):
                self._offer(found[f"{part}_proj_weight"], lambda stream=stream: _pieces(stream))
        heads = {"out_proj_weight": torch.eye(len(found["out_proj_weight"])).to(found["query"]), "out_proj_bias": None}
        without = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        call = {k: v for k, v in found.items() if k not in without or found.get("use_separate_proj_weight")}
        self._offer(found["out_proj_weight"], lambda: _pieces(_vectors(func(**{**call, **heads})[0])))

    def _offer(self, weight: Tensor | None, inputs: Callable[[], Inputs]) -> None:
        if id(weight) in self._names:
            self._see(self._names[id(weight)], inputs())


def _sums(
    model: nn.Module, params: dict[str, Tensor], batches: Iterable, loss: Loss, statistic: Callable[[Tensor], Tensor]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Sum of a statistic over all pieces of input and the number of input vectors, over all batches and ranks."""
    totals: dict[str, Tensor] = {}
    counts: Counter[str] = Counter()
    due: Counter[str] | None = None
    uses: Counter[str] = Counter()

    def see(name: str, inputs: Inputs) -> None:
        for piece in inputs:
            part = statistic(piece.double())
            totals[name] = totals[name].add_(part) if name in totals else part
            counts[name] += piece.shape[1]
        uses[name] += 1
        if due is not None and uses >= due:
            raise _Enough

    for batch in batches:
        uses.clear()
        try:
            with torch.no_grad(), _InputTrace(model, params, see):
                loss(model, batch)
        except _Enough:
            pass
        _check_seen(params, uses)
        due = due or Counter(uses)
    if due is None:
        raise UsageError("no batches to calibrate on: data is empty (a generator that was used up?)")
    sums = {name: (totals[name], totals[name].new_tensor(counts[name])) for name in params}
    if several():
        for pair in sums.values():
            for tensor in pair:
                dist.all_reduce(tensor)
    return sums


def _check_seen(params: Iterable[str], seen: Iterable[str]) -> None:
    if missing := sorted(set(params) - set(seen)):
        raise UsageError(
            f"the inputs of {', '.join(missing)} cannot be seen: no linear, convolution or attention function uses the "
            "weight as it is (transposed and bilinear layers are not supported); leave it out with a scope (exclude=)"
        )


def _vectors(x: Tensor) -> Tensor:
    return x.reshape(1, -1, x.shape[-1])


def _pieces(x: Tensor) -> Inputs:
    yield from x.split(max(1, CHUNK // (x.shape[0] * x.shape[-1])), dim=1)


def _patch_pieces(x: Tensor, kernel: tuple[int, ...], geometry: dict[str, Any]) -> Inputs:
    x = x if x.ndim == len(kernel) + 2 else x[None]
    image = patches(x[:1], kernel, **geometry).numel()
    for images in x.split(max(1, CHUNK // image)):
        yield patches(images, kernel, **geometry)
