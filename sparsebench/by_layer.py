"""Gradients of single examples, layer by layer: the way of large networks on a CPU.

All examples go through the network and back together, which gives the inputs of every layer and the gradients of its
outputs. The gradient of a weight for one example is then a product of these two, made and handed on alone:

    linear        G_n^T X_n                           X_n [tokens, in], G_n [tokens, out]
    convolution   the same over the patches of X_n

Nothing but products is done an example, so a weight of millions of numbers is read once for all of them, and no more
than one gradient exists at a time. It takes a network in which every weight asked for is used once, by a layer of these
two kinds; others are refused before any gradient is handed on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

Take = Callable[[str, Tensor], None]
"""Given the name of a parameter and gradients ``[examples, *shape]``; of one parameter in the order of the examples."""
EXAMPLES = 16
"""That go through the network together where no gradient is kept; twice as many are no faster."""
ABOUT = frozenset({
    Tensor.shape.__get__, Tensor.dtype.__get__, Tensor.device.__get__, Tensor.ndim.__get__, Tensor.is_cuda.__get__,
    Tensor.requires_grad.__get__, Tensor.size, Tensor.dim, Tensor.numel, Tensor.is_floating_point,
})  # fmt: skip
"""What may be asked of a weight without using it."""


class Unfit(Exception):
    """The network uses a weight in another way than once in a layer."""


def differentiate(
    objective: nn.Module, params: dict[str, Tensor], join: Callable, part: list[Tensor], take: Take
) -> None:
    """Hand on the gradient of every example of a part for every parameter.

    Args:
        objective: maps an example, as ``join`` makes it of tensors, to its loss.
        params: parameters of the objective, under any names.
        part: tensors whose first dimension is the examples.

    Raises:
        Unfit: a parameter is used twice, never, or not by a linear or convolutional layer.
    """
    names = {id(p): name for name, p in params.items()}
    state = {place: p.detach() for place, p in objective.named_parameters()}
    weights = {id(state[place]): names[id(p)] for place, p in objective.named_parameters() if id(p) in names}
    layers = _Layers(weights, {id(value) for value in state.values()}, take)

    def of_one(example: list[Tensor]) -> Tensor:
        return functional_call(objective, state, (join(example),))

    # Of the attention kernels only the plain one can be vectorised.
    with sdpa_kernel(SDPBackend.MATH), torch.enable_grad(), layers:
        losses = vmap(of_one, randomness="same")(part)
    if layers.used != params.keys():
        raise Unfit(f"no layer uses {sorted(params.keys() - layers.used)}")
    losses.sum().backward()
    for name in params.keys() - layers.heard:
        take(name, params[name].new_zeros(len(part[0]), *params[name].shape).detach())


class _Layers(TorchFunctionMode):
    """Layers whose weight is asked for hand on its gradients on the way back."""

    def __init__(self, weights: dict[int, str], known: set[int], take: Take):
        super().__init__()
        self.weights, self.known, self.take = weights, known, take
        self.used: set[str] = set()
        self.heard: set[str] = set()

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if function in _LAYERS:
            layer = _LAYERS[function](*args, **kwargs)
            name = self.weights.get(id(layer.weight))
            if self.weights.keys() & {id(layer.input), id(layer.bias)}:
                raise Unfit("a parameter asked for is the input or the bias of a layer")
            return function(*args, **kwargs) if name is None else self._tapped(name, layer)
        if function not in ABOUT and any(id(value) in self.weights for value in tree_leaves((args, kwargs))):
            raise Unfit(f"a weight is used by {function}")
        return function(*args, **kwargs)

    def _tapped(self, name: str, layer: _Layer) -> Tensor:
        if name in self.used or (layer.bias is not None and id(layer.bias) not in self.known):
            raise Unfit(f"{name} is used twice, or beside a bias that is no parameter")
        self.used.add(name)

        def back(inputs: Tensor, grads: Tensor) -> None:
            self.heard.add(name)
            for one, grad in zip(inputs, grads, strict=True):
                self.take(name, layer.gradient(one, grad)[None])

        return _Tapped.apply(layer.input, layer.run, back)


class _Tapped(torch.autograd.Function):
    """A layer on all examples at once that tells ``back`` its inputs and the gradients of its outputs."""

    @staticmethod
    def forward(x: Tensor, run: Callable, back: Callable) -> Tensor:
        raise Unfit("a layer whose inputs are the same for all examples")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None: ...

    @staticmethod
    def vmap(info: Any, in_dims: tuple, x: Tensor, run: Callable, back: Callable) -> tuple[Tensor, int]:
        x = x.movedim(in_dims[0], 0)
        out = run(x)
        if not out.requires_grad:
            out.requires_grad_()
        out.register_hook(partial(back, x.detach()))
        return out, 0


class _Layer(NamedTuple):
    """A call of a layer."""

    input: Tensor
    weight: Tensor
    bias: Tensor | None
    run: Callable[[Tensor], Tensor]
    """All examples, ``[n, *input]``, at once."""
    gradient: Callable[[Tensor, Tensor], Tensor]
    """That of the weight, from one example's input and the gradient of its output."""


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> _Layer:
    def run(x: Tensor) -> Tensor:
        return F.linear(x, weight, bias)

    def gradient(x: Tensor, grad: Tensor) -> Tensor:
        return grad.reshape(-1, grad.shape[-1]).T @ x.reshape(-1, x.shape[-1])

    return _Layer(input, weight, bias, run, gradient)


def _conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride=1, padding=0, dilation=1, groups: int = 1
) -> _Layer:
    if isinstance(padding, str) or input.dim() != 4:
        raise Unfit(f"a convolution with padding={padding!r} of an input of {input.dim()} dimensions")
    how = _pair(stride), _pair(padding), _pair(dilation), groups

    def run(x: Tensor) -> Tensor:
        return F.conv2d(x.flatten(0, 1), weight, bias, *how).unflatten(0, x.shape[:2])

    def gradient(x: Tensor, grad: Tensor) -> Tensor:
        return nn.grad.conv2d_weight(x, weight.shape, grad, *how)

    return _Layer(input, weight, bias, run, gradient)


_LAYERS = {F.linear: _linear, F.conv2d: _conv2d}
