"""Static units: which units of which rectifiers no kept weight can reach, found without any data.

The network runs once on *indicators* instead of numbers: zero = not reached, anything positive = reached.
A convolution or linear layer says of each of its units whether any incoming weight is kept; biases and
norms are dropped; a sum is reached if any of its terms is. So a unit behind a residual addition is static
only if the branch's filter and the source of the shortcut both are.

Limits. What is not a weight of a linear, convolution or attention layer counts as reached, so an unknown
layer makes fewer units static, never more. A position or bias *parameter* that is added is dropped like
any bias. Norms are seen as acting on every unit alone: the data that a layer or group norm lets into a
feature through its mean and variance do not count as a path. Terms of opposite sign inside one matrix
product of a custom layer could cancel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import linear

from sparsebench.trace import SMOOTH, Trace, attention_arguments, indicators, is_relu, take

_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_NORMS = (
    "batch_norm",
    "layer_norm",
    "group_norm",
    "instance_norm",
    "rms_norm",
    "local_response_norm",
    "normalize",
)
_SUMS = ("add", "radd", "iadd", "sub", "rsub", "isub", "subtract")
_HALF = 0.5  # counts are whole numbers; fast convolution algorithms return them with rounding errors


def reached_units(model: nn.Module, x: Tensor, masks: Mapping[str, Tensor], *, closure: bool) -> dict[str, Tensor]:
    """For every rectifier call, in call order, which of its outputs are reached; bool [1, ...] by site name.

    Args:
        x: one example ``[1, ...]``; only its shape matters (integers stay: they are looked up in embeddings).
        masks: parameter name -> bool tensor; a parameter without one is fully kept.
        closure: False asks for kept incoming weights only (definition of *static dead*); True also that the
            inputs behind them are themselves reached, padding being no input.
    """
    values = indicators(model, masks)
    reach = _Reach(model, closure, constants={id(value) for value in values.values()})
    with torch.no_grad(), reach:
        functional_call(model, values, (torch.ones_like(x) if x.is_floating_point() else x,))
    return reach.sites


class RememberedReach:
    """``reached_units`` without and with closure, found anew only when masks, network or inputs are others."""

    def __init__(self) -> None:
        self._asked: tuple | None = None
        self._masks: list[Tensor] = []
        self._found: tuple[dict[str, Tensor], ...] = ({}, {})

    def __call__(
        self, model: nn.Module, x: Tensor, masks: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        # A tensor changed in place has another version; those held here cannot lend their id to new ones.
        tracked = not any(mask.is_inference() for mask in masks.values())
        state = tracked and tuple((name, id(mask), mask._version) for name, mask in masks.items())
        asked = (id(model), x.shape, x.dtype, x.device, state)
        if not tracked or asked != self._asked:
            self._found = tuple(reached_units(model, x, masks, closure=closure) for closure in (False, True))
            self._asked, self._masks = asked, list(masks.values())
        return self._found


class _Reach(Trace):
    def __init__(self, model: nn.Module, closure: bool, constants: set[int]):
        super().__init__(model)
        self.closure, self.constants = closure, constants
        self.sites: dict[str, Tensor] = {}

    def intercept(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        if is_relu(name, args, kwargs):
            (x,), *_ = take(args, kwargs, "input")
            self.sites[self.site()] = x != 0
            return x
        if name in SMOOTH:
            self.site()  # takes a number in the module, as where activations are counted
        if name in SMOOTH or name in _NORMS:
            return take(args, kwargs, "input")[0][0]
        if name in _SUMS:
            return self._sum(func, args, kwargs)
        if name == "linear" or name in _CONVOLUTIONS or name in _TRANSPOSED:
            return self._layer(name, func, args, kwargs)
        if name == "scaled_dot_product_attention":
            # Zero queries attend to all keys alike: a value counts if any token in sight has it.
            (query, key, value), args, kwargs = take(args, kwargs, "query", "key", "value")
            return func(torch.zeros_like(query), key, value, *args, **kwargs)
        if name == "multi_head_attention_forward":
            return self._attention(attention_arguments(args, kwargs))
        out = func(*args, **kwargs)
        return torch.ones_like(out) if name in ("embedding", "embedding_bag") else out

    def _layer(self, name: str, func: Any, args: tuple, kwargs: dict) -> Tensor:
        (x, weight, _), args, kwargs = take(args, kwargs, "input", "weight", "bias")
        kept = (weight != 0).to(x.dtype)
        out = func((x != 0).to(x.dtype), kept, None, *args, **kwargs)
        if self.closure:
            return (out > _HALF).to(x.dtype)
        if name in _TRANSPOSED:  # the weight is [in, out / groups, ...]
            groups = args[3] if len(args) > 3 else kwargs.get("groups", 1)
            units = kept.flatten(2).amax(2).unflatten(0, (groups, -1)).amax(1).flatten()
        else:
            units = kept.flatten(1).amax(1)
        return units.view(-1, *[1] * (weight.ndim - 2)).expand_as(out).clone()

    def _sum(self, func: Any, args: tuple, kwargs: dict) -> Tensor:
        (a, b), *_ = take(args, kwargs, "input", "other")
        if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
            return a if isinstance(a, Tensor) else b
        out = sum(0 * t if id(t) in self.constants else t.abs() for t in (a, b))
        in_place = func.__name__ in ("add_", "sub_", "subtract_", "__iadd__", "__isub__")
        return a.copy_(out) if in_place else out

    def _attention(self, found: dict[str, Any]) -> tuple[Tensor, None]:
        """Every query sees every value; features are reached through kept weights of the projections."""
        query, value = found["query"], found["value"]
        mixed = self._layer("linear", linear, (value, found["v_proj_weight"]), {}).amax(0, keepdim=True)
        mixed = mixed.expand(*query.shape[:-1], mixed.shape[-1])
        return self._layer("linear", linear, (mixed, found["out_proj_weight"]), {}), None
