"""Gradients of single examples: what a Fisher matrix is made of.

The gradient of a batch is the mean of these; its square is not the mean of their squares. All examples of a chunk
are differentiated at once: layer by layer where the weights are large and on a CPU (see ``by_layer``), else in one
vectorised call (``torch.func.vmap`` of ``grad``). Where vmap cannot run the network, one after the other.

Memory: a chunk is as many examples as have ``MEMORY`` bytes of gradients, at least one and at most ``CHUNK`` (larger
ones are no faster); while it is computed, it holds at most twice its gradients, and some three times the activations
of a training step on as many examples. Mean squares layer by layer hold one gradient and the activations of
``by_layer.EXAMPLES`` examples. Run in evaluation mode: batch statistics would tie examples together.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_flatten, tree_unflatten

from sparsebench import by_layer
from sparsebench.by_layer import Take
from sparsebench.errors import UsageError
from sparsebench.ranks import several
from sparsebench.scoring import Loss, gradients, mean_over_examples

MEMORY = 2**28
CHUNK = 32
LARGE = 2**20
"""Numbers in an example's gradient from which a CPU works layer by layer: on smaller networks vmap is faster."""
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
    chunk = _examples_of(memory, params)
    differentiate = _Differentiation(model, params, loss, chunk, chunk)
    found: dict[str, list[Tensor]] = {name: [] for name in params}
    for batch in batches:
        for _ in differentiate(batch, lambda name, grads: found[name].append(grads)):
            whole = {name: parts[0] if len(parts) == 1 else torch.cat(parts) for name, parts in found.items()}
            for parts in found.values():
                parts.clear()
            yield whole


def _examples_of(memory: int, params: dict[str, Tensor]) -> int:
    return max(1, min(CHUNK, memory // sum(p.numel() * p.element_size() for p in params.values())))


def mean_squared_gradients(model: nn.Module, params: dict[str, Tensor], batches: Iterable, loss: Loss) -> list[Tensor]:
    """``mean_n (g_n)^2`` over all examples of all batches and ranks: the diagonal of the empirical Fisher matrix.

    The square is inside the definition, so ranks average squares.
    """
    differentiate = _Differentiation(model, params, loss, _examples_of(MEMORY, params), by_layer.EXAMPLES)

    def of_batch(batch: Any) -> list[Tensor]:
        total = {name: p.new_zeros(p.shape) for name, p in params.items()}
        examples = sum(differentiate(batch, lambda name, grads: _add_squares(total[name], grads)))
        return [sum_.div_(examples) for sum_ in total.values()]

    return mean_over_examples(of_batch, batches)


def _add_squares(total: Tensor, grads: Tensor) -> None:
    """``total += sum_n grads[n]^2``; block by block on a CPU, where memory not used before costs more than squares."""
    if len(grads) == 1:
        total.addcmul_(grads[0], grads[0])
        return
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


class _Differentiation:
    """Hands on the gradients of one batch after the other, in the fastest way that the network allows."""

    def __init__(self, model: nn.Module, params: dict[str, Tensor], loss: Loss, chunk: int, of_layers: int):
        self.model, self.params, self.loss = model, params, loss
        self.objective = _Objective(model, loss)
        self.ways = [(of_layers, self._by_layer), (chunk, self._together), (chunk, self._one_by_one)]
        if not _large_on_cpu(params):
            del self.ways[0]
        self.silent = set(params)
        """Parameters without a gradient so far, until the first chunk is done."""
        self.handed = False
        """Whether gradients of the chunk at work have been handed on."""

    def __call__(self, batch: Any, take: Take) -> Iterator[int]:
        """``take`` every gradient, chunk by chunk; yields the number of examples of each."""
        join, examples = _split(batch)
        done = 0
        while done < len(examples[0]):
            chunk, way = self.ways[0]
            part = [e[done : done + chunk] for e in examples]
            self.handed = False
            try:
                way(join, part, partial(self._hand, take))
            except torch.OutOfMemoryError:
                raise
            except by_layer.Unfit:
                del self.ways[0]
                continue
            except RuntimeError as error:
                self._give_up(error, join([e[0] for e in examples]))
                continue
            if self.silent:
                # Not every way tells a weight that the loss does not depend on from one whose gradient is 0.
                gradients(self.loss(self.model, join([e[0] for e in examples])), self.params)
                self.silent.clear()
            done += len(part[0])
            yield len(part[0])

    def _hand(self, take: Take, name: str, grads: Tensor) -> None:
        self.handed = True
        if name in self.silent and grads.any():
            self.silent.discard(name)
        take(name, grads)

    def _give_up(self, error: RuntimeError, alone: Any) -> None:
        """Another way next time; an error of the loss itself shows here, where it is not taken for a limit of vmap."""
        if self.handed:
            raise error  # another way would hand the same gradients on twice
        gradients(self.loss(self.model, alone), self.params)
        if len(self.ways) == 1:
            raise error
        del self.ways[0]
        if len(self.ways) == 1:
            reason = str(error).split(". ")[0]
            warnings.warn(f"one example at a time, since vmap cannot run this network: {reason}", stacklevel=4)

    def _by_layer(self, join: Callable, part: list[Tensor], take: Take) -> None:
        by_layer.differentiate(self.objective, self.params, join, part, take)

    def _together(self, join: Callable, part: list[Tensor], take: Take) -> None:
        values = {name: p.detach() for name, p in self.params.items()}

        def of_one(values: dict[str, Tensor], example: list[Tensor]) -> Tensor:
            state = {f"model.{name}": value for name, value in values.items()}
            return functional_call(self.objective, state, (join(example),))

        # Of the attention kernels only the plain one can be vectorised. No graph: biases still ask for gradients.
        with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            grads = vmap(grad(of_one), in_dims=(None, 0), randomness="same")(values, part)
        for name in self.params:
            take(name, grads.pop(name))

    def _one_by_one(self, join: Callable, part: list[Tensor], take: Take) -> None:
        for i in range(len(part[0])):
            each = gradients(self.loss(self.model, join([e[i] for e in part])), self.params)
            for name, grads in zip(self.params, each, strict=True):
                take(name, grads[None])


def _large_on_cpu(params: dict[str, Tensor]) -> bool:
    on_cpu = all(p.device.type == "cpu" for p in params.values()) and not torch.is_autocast_enabled("cpu")
    return on_cpu and sum(p.numel() for p in params.values()) >= LARGE


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
