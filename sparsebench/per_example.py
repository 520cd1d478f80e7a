"""Gradients of single examples: what a Fisher matrix is made of.

The gradient of a batch is the mean of these; its square is not the mean of their squares. All examples of a chunk
are differentiated in one vectorised call (``torch.func.vmap`` of ``grad``).

Memory: a chunk is as many examples as have ``MEMORY`` bytes of gradients, at least one and at most ``CHUNK`` (larger
ones are no faster); while it is computed, it holds at most twice its gradients, and some three times the activations
of a training step on as many examples. Run in evaluation mode: batch statistics would tie examples together.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from sparsebench.errors import UsageError
from sparsebench.ranks import several
from sparsebench.scoring import Loss, gradients, mean_over_examples

MEMORY = 2**28
CHUNK = 32
SMALL_MAP, LARGE_WEIGHT = 64, 2**18
"""Pixels of a convolution's output up to which, and numbers in its weight from which, its weight gradients on a CPU are
products of matrices."""
BLOCK = 2**15
"""Numbers of an example's gradient that are squared at a time on a CPU: as many as stay in its cache."""


def per_example_gradients(
    model: nn.Module, params: dict[str, Tensor], batches: Iterable, loss: Loss, *, memory: int = MEMORY
) -> Iterator[dict[str, Tensor]]:
    """The gradient of every example, chunk by chunk: ``{name: [chunk, *shape]}``, in the order of the batches.

    ``loss`` is called with batches of one example. Tensors of a batch whose length is not that of its first tensor
    are shared by all examples. A network that vmap cannot run (it reads values, say) is differentiated one example at
    a time, with a warning; the numbers are the same.

    Raises:
        UsageError: the loss does not depend on a parameter.

    >>> net = nn.Linear(1, 1, bias=False)
    >>> x, y = torch.tensor([[1.0], [3.0]]), torch.zeros(2)
    >>> (chunk,) = per_example_gradients(net, {"weight": net.weight}, [(x, y)], lambda f, b: f(b[0]).mean())
    >>> chunk["weight"].flatten()
    tensor([1., 3.])
    """
    size = sum(p.numel() * p.element_size() for p in params.values())
    chunk = max(1, min(CHUNK, memory // size))
    objective, first = _Objective(model, loss), True
    for batch in batches:
        join, examples = _split(batch)
        together, alone = _vectorised(objective, params, join), join([e[0] for e in examples])
        for start in range(0, len(examples[0]), chunk):
            part = [e[start : start + chunk] for e in examples]
            try:
                grads = together(part)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                # An error of the loss itself shows here, where it cannot be taken for a limit of vmap.
                gradients(loss(model, alone), params)
                reason = str(error).split(". ")[0]
                warnings.warn(f"one example at a time, since vmap cannot run this network: {reason}", stacklevel=2)
                together = _one_by_one(model, params, loss, join)
                grads = together(part)
            if first and not all(g[0].any() for g in grads.values()):
                # vmap gives zeros for a weight that the loss does not depend on; this refuses it.
                gradients(loss(model, alone), params)
            first = False
            yield grads


def mean_squared_gradients(model: nn.Module, params: dict[str, Tensor], batches: Iterable, loss: Loss) -> list[Tensor]:
    """``mean_n (g_n)^2`` over all examples of all batches and ranks: the diagonal of the empirical Fisher matrix.

    The square is inside the definition, so ranks average squares.
    """

    def of_batch(batch: Any) -> list[Tensor]:
        total, examples = [p.new_zeros(p.shape) for p in params.values()], 0
        for grads in per_example_gradients(model, params, [batch], loss):
            for sum_, g in zip(total, grads.values(), strict=True):
                _add_squares(sum_, g)
            examples += len(g)
        return [sum_.div_(examples) for sum_ in total]

    return mean_over_examples(of_batch, batches)


def _add_squares(total: Tensor, grads: Tensor) -> None:
    """``total += sum_n grads[n]^2``; block by block on a CPU, where memory not used before costs more than squares."""
    block = BLOCK if grads.device.type == "cpu" else total.numel()
    for sum_, g in zip(total.view(-1).split(block), grads.flatten(1).split(block, dim=1), strict=True):
        sum_.add_(g.square().sum(0))


def gradient_matrix(
    model: nn.Module, params: dict[str, Tensor], batches: Iterable, loss: Loss, *, limit: int
) -> Tensor:
    """Gradients of the first ``limit`` examples as rows, ``[m, p]``; columns in the order of the parameters.

    Under DDP the ranks share ``limit`` evenly and all get all rows. Holds ``m * p`` numbers on every rank.
    """
    if limit < 1:
        raise UsageError(f"gradients={limit} is the number of examples to differentiate: at least 1")
    batches = list(batches)
    share, first, total = _share_of_rows(sum(len(_split(batch)[1][0]) for batch in batches), limit, params)
    if not total:
        raise UsageError("no batches to score on: data is empty (a generator that was used up?)")
    weight = next(iter(params.values()))
    rows = weight.new_zeros(total, sum(p.numel() for p in params.values())).detach()
    filled = 0
    for grads in per_example_gradients(model, params, batches, loss) if share else ():
        n = min(len(next(iter(grads.values()))), share - filled)
        columns = rows[first + filled : first + filled + n].split([p.numel() for p in params.values()], dim=1)
        for part, g in zip(columns, grads.values(), strict=True):
            part.copy_(g[:n].flatten(1))
        filled += n
        if filled == share:
            break
    if several():
        dist.all_reduce(rows)
    return rows


def unflatten(flat: Tensor, params: dict[str, Tensor]) -> dict[str, Tensor]:
    """A vector over all parameters as one tensor a parameter; the inverse of ``flatten``."""
    parts = flat.split([p.numel() for p in params.values()])
    return {name: part.view(p.shape) for (name, p), part in zip(params.items(), parts, strict=True)}


def flatten(tensors: dict[str, Tensor]) -> Tensor:
    """All tensors as one vector, without gradient."""
    return torch.cat([t.detach().flatten() for t in tensors.values()])


class _Objective(nn.Module):
    """``loss(model, batch)`` as one module, so that any way a loss may use the model sees the given weights."""

    def __init__(self, model: nn.Module, loss: Loss):
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Any) -> Tensor:
        return self.loss(self.model, batch)


def _split(batch: Any) -> tuple[Callable[[list[Tensor]], Any], list[Tensor]]:
    """A batch as its tensors over examples, and the function that makes one example a batch of one again."""
    leaves, structure = tree_flatten(batch)
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.ndim]
    if not tensors:
        raise UsageError(f"a batch is a {type(batch).__name__} without tensors: there are no examples to tell apart")
    own = [i for i, v in enumerate(leaves) if isinstance(v, Tensor) and v.ndim and len(v) == len(tensors[0])]

    def join(example: list[Tensor]) -> Any:
        whole = list(leaves)
        for i, value in zip(own, example, strict=True):
            whole[i] = value[None]
        return tree_unflatten(whole, structure)

    return join, [leaves[i] for i in own]


def _vectorised(objective: nn.Module, params: dict[str, Tensor], join: Callable) -> Callable:
    values = {name: p.detach() for name, p in params.items()}

    def of_one(values: dict[str, Tensor], example: list[Tensor]) -> Tensor:
        state = {f"model.{name}": value for name, value in values.items()}
        return functional_call(objective, state, (join(example),))

    def of_all(part: list[Tensor]) -> dict[str, Tensor]:
        # Of the attention kernels only the plain one can be vectorised. No graph: biases still ask for gradients.
        with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), _SmallMaps():
            return vmap(grad(of_one), in_dims=(None, 0), randomness="same")(values, part)

    return of_all


class _SmallMaps(TorchFunctionMode):
    """Convolutions to few pixels are differentiated by products of matrices, on a CPU.

    vmap makes the weight gradients of all examples one convolution with a group an example. For large weights on maps
    of 8x8 and 4x4 pixels that takes 2 to 5 times as long as products: a quarter of the time of ResNet-18.
    """

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return (_conv2d if function is F.conv2d else function)(*args, **kwargs or {})


def _conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride=1, padding=0, dilation=1, groups: int = 1
) -> Tensor:
    """``F.conv2d``, differentiated in another way where that is faster."""
    simple = input.dim() == 4 and len(input) == 1 and groups == 1 and not isinstance(padding, str)
    on_cpu = input.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    if simple and on_cpu and weight.numel() >= LARGE_WEIGHT:
        how = _pair(stride), _pair(padding), _pair(dilation)
        sides = zip(input.shape[2:], weight.shape[2:], *how, strict=True)
        height, width = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sides)
        if height * width <= SMALL_MAP:
            return _Convolution.apply(input, weight, bias, *how)
    return F.conv2d(input, weight, bias, stride, padding, dilation, groups)


class _Convolution(torch.autograd.Function):
    """The convolution of one example; its weight gradient is [O, pixels] @ [pixels, C * k * k]."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, stride, padding, dilation) -> Tensor:
        return F.conv2d(x, weight, bias, stride, padding, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, weight, _, ctx.stride, ctx.padding, ctx.dilation = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = nn.grad.conv2d_input(x.shape, weight, grad, ctx.stride, ctx.padding, ctx.dilation)
        if ctx.needs_input_grad[1]:
            patches = F.unfold(x, weight.shape[2:], ctx.dilation, ctx.padding, ctx.stride)[0]
            of_weight = (grad[0].flatten(1) @ patches.T).view(weight.shape)
        if ctx.needs_input_grad[2]:
            of_bias = grad.sum((0, 2, 3))
        return of_x, of_weight, of_bias, None, None, None


def _one_by_one(model: nn.Module, params: dict[str, Tensor], loss: Loss, join: Callable) -> Callable:
    def of_all(part: list[Tensor]) -> dict[str, Tensor]:
        each = [gradients(loss(model, join([e[i] for e in part])), params) for i in range(len(part[0]))]
        return {name: torch.stack(g) for name, g in zip(params, zip(*each, strict=True), strict=True)}

    return of_all


def _share_of_rows(examples: int, limit: int, params: dict[str, Tensor]) -> tuple[int, int, int]:
    """How many rows this rank gives, how many the ranks before it do, and how many there are."""
    if not several():
        return min(examples, limit), 0, min(examples, limit)
    rank, ranks = dist.get_rank(), dist.get_world_size()
    counts = torch.zeros(ranks, dtype=torch.long, device=next(iter(params.values())).device)
    counts[rank] = min(examples, limit // ranks + (rank < limit % ranks))
    dist.all_reduce(counts)
    counts = counts.tolist()
    return counts[rank], sum(counts[:rank]), sum(counts)
