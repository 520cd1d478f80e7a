"""Gradients of single examples, layer by layer: the way of large networks on a CPU.

All examples go through the network and back together, which gives the inputs of every layer and the gradients of its
outputs. The gradient of a weight for one example is then a product of these two, made and handed on alone:

    linear        G_n^T X_n                           X_n [tokens, in], G_n [tokens, out]
    convolution   the same over the patches of X_n

Nothing but products is done an example, so a weight of millions of numbers is read once for all of them, and no more
than one gradient of a weight exists at a time. It takes a network in which every weight asked for is used once, by a
layer of these two kinds; others are refused before any gradient is handed on.
"""

from __future__ import annotations

from collections.abc import Callable
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
    layers = _Layers(weights, {id(value) for value in state.values()})

    def of_one(example: list[Tensor]) -> Tensor:
        return functional_call(objective, state, (join(example),))

    # Of the attention kernels only the plain one can be vectorised.
    with sdpa_kernel(SDPBackend.MATH), torch.enable_grad(), layers:
        losses = vmap(of_one, randomness="same")([tensor.detach() for tensor in part])
    _back(losses, layers.calls)
    missing = [name for name in params if name not in layers.calls or layers.calls[name].grads is None]
    if missing:
        raise Unfit(f"no layer that the loss depends on uses {', '.join(missing)}")
    for name in params:
        call = layers.calls.pop(name)
        for x, grad in zip(call.inputs, call.grads, strict=True):
            take(name, call.layer.gradient(x, grad)[None])


class _Call:
    """What a layer saw of all examples, an example a row."""

    def __init__(self, layer: _Layer):
        self.layer = layer
        self.inputs: Tensor | None = None
        self.grads: Tensor | None = None
        """Of its outputs; None until the way back has come by."""
        self.start: Tensor | None = None
        """Where the way back ends, if no other layer comes before this one."""

    def run(self, x: Tensor) -> Tensor:
        self.inputs = x.detach()
        out = self.layer.run(x.flatten(0, 1) if self.layer.joins else x)
        if not out.requires_grad:
            self.start = out.requires_grad_()
            out = out.clone()  # an activation may overwrite what it is given, which a start cannot be
        out.register_hook(self._note)  # before any view of it: what overwrites a view drops the hooks of the view
        return self._apart(out)

    def _note(self, grads: Tensor) -> None:
        self.grads = self._apart(grads)

    def _apart(self, values: Tensor) -> Tensor:
        return values.unflatten(0, self.inputs.shape[:2]) if self.layer.joins else values


def _back(losses: Tensor, calls: dict[str, _Call]) -> None:
    """The way back; no tensor but those of the calls is left with a gradient."""
    starts = [call.start for call in calls.values() if call.start is not None]
    if starts and losses.requires_grad:
        torch.autograd.grad(losses.sum(), starts, allow_unused=True)


class _Layers(TorchFunctionMode):
    """Keeps the calls of the layers whose weight is asked for."""

    def __init__(self, weights: dict[int, str], known: set[int]):
        super().__init__()
        self.weights, self.known = weights, known
        self.calls: dict[str, _Call] = {}

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if function in _LAYERS:
            layer = _LAYERS[function](*args, **kwargs)
            if self.weights.keys() & {id(layer.input), id(layer.bias)}:
                raise Unfit("a parameter asked for is the input or the bias of a layer")
            name = self.weights.get(id(layer.weight))
            return function(*args, **kwargs) if name is None else self._kept(name, layer)
        if function not in ABOUT and any(id(value) in self.weights for value in tree_leaves((args, kwargs))):
            raise Unfit(f"a weight is used by {function}")
        return function(*args, **kwargs)

    def _kept(self, name: str, layer: _Layer) -> Tensor:
        if name in self.calls or (layer.bias is not None and id(layer.bias) not in self.known):
            raise Unfit(f"{name} is used twice, or beside a bias that is no parameter")
        self.calls[name] = _Call(layer)
        return _Together.apply(layer.input, self.calls[name].run)


class _Together(torch.autograd.Function):
    """Runs a layer on all examples at once where vmap would run it on each."""

    @staticmethod
    def forward(x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        raise Unfit("a layer whose inputs are the same for all examples")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None: ...

    @staticmethod
    def vmap(info: Any, in_dims: tuple, x: Tensor, run: Callable[[Tensor], Tensor]) -> tuple[Tensor, int]:
        return run(x.movedim(in_dims[0], 0)), 0


class _Layer(NamedTuple):
    """A call of a layer."""

    input: Tensor
    weight: Tensor
    bias: Tensor | None
    joins: bool
    """It takes one dimension before those of an input, so those of examples and of their batches become one."""
    run: Callable[[Tensor], Tensor]
    """All examples, ``[n, *input]``, at once."""
    gradient: Callable[[Tensor, Tensor], Tensor]
    """That of the weight, from one example's input and the gradient of its output."""


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> _Layer:
    def run(x: Tensor) -> Tensor:
        return F.linear(x, weight, bias)

    def gradient(x: Tensor, grad: Tensor) -> Tensor:
        return grad.reshape(-1, grad.shape[-1]).T @ x.reshape(-1, x.shape[-1])

    return _Layer(input, weight, bias, False, run, gradient)


def _conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride=1, padding=0, dilation=1, groups: int = 1
) -> _Layer:
    if isinstance(padding, str) or input.dim() != 4:
        raise Unfit(f"a convolution with padding={padding!r} of an input of {input.dim()} dimensions")
    how = _pair(stride), _pair(padding), _pair(dilation), groups

    def run(x: Tensor) -> Tensor:
        return F.conv2d(x, weight, bias, *how)

    def gradient(x: Tensor, grad: Tensor) -> Tensor:
        return nn.grad.conv2d_weight(x, weight.shape, grad, *how)

    return _Layer(input, weight, bias, True, run, gradient)


_LAYERS = {F.linear: _linear, F.conv2d: _conv2d}
