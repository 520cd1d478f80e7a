"""Gradients of single examples: what a Fisher matrix is made of.

The gradient of a batch is the mean of these; its square is not the mean of their squares. All examples of a chunk
are differentiated at once (see ``differentiation``).

Memory: a chunk is as many examples as have ``MEMORY`` bytes of gradients, at least one and at most ``CHUNK`` (larger
ones are no faster); while it is computed, it holds at most twice its gradients, and some three times the activations
of a training step on as many examples. Mean squares layer by layer hold one gradient and the activations of
``by_layer.EXAMPLES`` examples. Run in evaluation mode: batch statistics would tie examples together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sparsebench import by_layer
from sparsebench.differentiation import Differentiation, split
from sparsebench.errors import UsageError
from sparsebench.ranks import several
from sparsebench.scoring import Loss, mean_over_examples

MEMORY = 2**28
CHUNK = 32
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
    differentiate = Differentiation(model, params, loss, chunk, chunk)
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
    differentiate = Differentiation(model, params, loss, _examples_of(MEMORY, params), by_layer.EXAMPLES)

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
    share, first, total = _share_of_rows(sum(len(split(batch)[1][0]) for batch in batches), limit, params)
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
