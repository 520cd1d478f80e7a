"""Trace: every torch function a module calls while it runs, and the path of the module that calls it.

No registration, no wrapper, no rewriting of the network: functional calls, reused modules and in-place
variants are all seen, because all of them are torch functions. Not seen is what runs as one compiled
kernel (``nn.RNN(nonlinearity="relu")``, scripted modules).
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

SMOOTH = frozenset({"gelu", "silu", "mish", "elu", "selu", "celu", "leaky_relu", "prelu", "hardswish"})
"""Activations that pass on (nearly) every negative value: they have no exact zeros to count."""

_LOWER_BOUND = {"hardtanh": "min_val", "clamp_min": "min", "clamp": "min"}


class Trace(TorchFunctionMode):
    """Runs ``intercept`` instead of every torch function called inside the forward pass of a model.

    ``with Trace(model): model(x)``. Calls made outside of the model's forward pass (by a data loader, say)
    are left alone.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self._paths = {module: path for path, module in model.named_modules()}
        self._stack: list[str] = []
        self._seen: Counter[str] = Counter()
        self._handles: list = []

    def intercept(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        """Run or replace one call; ``name`` is the function's, without underscores at its ends."""
        raise NotImplementedError

    @property
    def path(self) -> str:
        """Path of the innermost module now running; ``forward`` in the model itself."""
        return self._stack[-1] or "forward"

    def site(self) -> str:
        """A name for this call: the module's path, and ``#i`` from its second call in one forward pass on."""
        self._seen[self.path] += 1
        i = self._seen[self.path] - 1
        return f"{self.path}#{i}" if i else self.path

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if not self._stack:
            return func(*args, **(kwargs or {}))
        return self.intercept(getattr(func, "__name__", "").strip("_"), func, args, kwargs or {})

    def __enter__(self):
        for module in self._paths:
            self._handles.append(module.register_forward_pre_hook(self._enter_module))
            self._handles.append(module.register_forward_hook(self._leave_module, always_call=True))
        return super().__enter__()

    def __exit__(self, *exception):
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        return super().__exit__(*exception)

    def _enter_module(self, module: nn.Module, _) -> None:
        if not self._stack:
            self._seen.clear()
        self._stack.append(self._paths[module])

    def _leave_module(self, *_) -> None:
        self._stack.pop()


def is_relu(name: str, args: tuple, kwargs: dict) -> bool:
    """Whether a call is a rectifier: relu, relu6, hardtanh from 0, or a clamp from below at 0.

    >>> is_relu("relu", (), {}), is_relu("clamp", (None,), {"min": 0}), is_relu("clamp", (None, 0, 1), {})
    (True, True, False)
    """
    if name not in _LOWER_BOUND:
        return name in ("relu", "relu6")
    lower = args[1] if len(args) > 1 else kwargs.get(_LOWER_BOUND[name])
    bounded_above = name == "clamp" and (len(args) > 2 or kwargs.get("max") is not None)
    return isinstance(lower, int | float) and lower == 0 and not bounded_above


def take(args: tuple, kwargs: dict, *names: str) -> tuple[list[Any], tuple, dict]:
    """The leading arguments of a call, however they were passed, and what is left of ``args`` and ``kwargs``.

    >>> take((1, 2), {"weight": 3, "stride": 4}, "input", "weight")
    ([1, 2], (), {'stride': 4})
    >>> take((1,), {"weight": 3}, "input", "weight", "bias")
    ([1, 3, None], (), {})
    """
    given = {**kwargs, **dict(zip(names, args, strict=False))}
    rest = {key: value for key, value in kwargs.items() if key not in names}
    return [given.get(name) for name in names], args[len(names) :], rest


def indicators(model: nn.Module, masks: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Parameters whose values say which weights are kept (1) or pruned (0); without a mask all are kept.

    A model run on them by ``torch.func.functional_call`` shows the mask of a weight wherever the weight is
    used, through chunks, transposes and reparametrisations.
    """
    masks = masks or {}
    return {
        name: masks[name].to(param.device, param.dtype) if name in masks else torch.ones_like(param)
        for name, param in model.named_parameters()
    }


def attention_arguments(args: tuple, kwargs: dict) -> dict[str, Any]:
    """The arguments of ``multi_head_attention_forward`` by name; q, k and v weights are split."""
    found = inspect.signature(F.multi_head_attention_forward).bind(*args, **kwargs).arguments
    if not found.get("use_separate_proj_weight"):
        names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        found.update(zip(names, found["in_proj_weight"].chunk(3), strict=True))
    return found
