"""Scoring: hands a criterion what it needs and leaves the model as it was."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy as _cross_entropy
from torch.utils._pytree import tree_map

from sparsebench.errors import UsageError
from sparsebench.ranks import several
from sparsebench.registry import criterion
from sparsebench.scope import Scope, scope_of

NEEDS = ("weight", "random", "gradient", "model")

NO_BATCHES = "no batches to score on: data is empty (a generator that was used up?)"

Loss = Callable[[Callable, Any], Tensor]
"""``loss(model, batch)``: the mean loss over the examples of one batch, a scalar."""


def cross_entropy(model: Callable, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The default loss, for batches ``(x, y)`` of inputs and class indices.

    Raises:
        UsageError: a batch is something else.
    """
    if not (isinstance(batch, list | tuple) and len(batch) == 2):
        raise UsageError(
            f"a batch is a {type(batch).__name__}, not a pair (inputs, labels): pass loss=a function of (model, batch)"
        )
    x, y = batch
    return _cross_entropy(model(x), y)


def weight_scores(
    model: nn.Module,
    name: str,
    data: Iterable | None = None,
    *,
    loss: Loss | None = None,
    scope: Scope | None = None,
    seed: int = 0,
    **arguments: Any,
) -> dict[str, Tensor]:
    """Raw scores of every prunable weight by a criterion of single weights; arguments as in ``functional.scores``.

    Raises:
        UsageError: unknown criterion or argument, data missing, a weight the loss does not depend on, or a
            score that has not its weight's shape.

    >>> net = nn.Linear(2, 1, bias=False)
    >>> bool((weight_scores(net, "magnitude")["weight"] == net.weight.abs()).all())
    True
    """
    entry = criterion.entry(name)
    for argument in arguments:
        if argument not in entry.params:
            raise UsageError(
                f"criterion {name!r} has no argument {argument!r} (it has: {', '.join(entry.params) or 'none'})"
            )
    needs = entry.traits.get("needs", "weight")
    if needs not in NEEDS:
        raise UsageError(f"criterion {name!r}: needs={needs!r} is not one of {', '.join(NEEDS)}")
    score = partial(criterion.get(name), **arguments)
    params = (scope or scope_of(model)).prunable
    with untouched(model, train=entry.traits.get("mode") == "train"):
        batches = () if data is None else on_device(data, next(iter(params.values())).device)
        if needs not in ("weight", "random"):
            needed(name, None if data is None else batches)
        raw = _ask(score, needs, model, params, batches, loss or cross_entropy, seed)
    for n, p in params.items():
        if n not in raw or raw[n].shape != p.shape:
            got = tuple(raw[n].shape) if n in raw else "no score"
            raise UsageError(f"criterion {name!r}: {got} for {n!r}; a score has its weight's shape {tuple(p.shape)}")
    return raw


def _ask(score: Callable, needs: str, model: nn.Module, params: dict, batches: Any, loss: Loss, seed: int) -> dict:
    """Call a criterion with what it needs."""
    if needs == "model":
        return score(model, params, batches, loss)
    if needs == "gradient":
        grads = mean_gradients(model, params, batches, loss)
        return {n: score(p.detach(), grads[n]) for n, p in params.items()}
    further = (torch.Generator().manual_seed(seed),) if needs == "random" else ()
    return {n: score(p.detach(), *further) for n, p in params.items()}


@contextmanager
def untouched(model: nn.Module, *, train: bool) -> Iterator[None]:
    """Run a block in train or eval mode and restore modes, buffers and every random state afterwards."""
    modes = {module: module.training for module in model.modules()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    python, numbers = random.getstate(), numpy.random.get_state()
    with torch.random.fork_rng(devices=[d.index for d in devices]):
        model.train(train)
        try:
            with torch.enable_grad():
                yield
        finally:
            random.setstate(python)
            numpy.random.set_state(numbers)
            for module, training in modes.items():
                module.training = training
            with torch.no_grad():
                for name, buffer in model.named_buffers():
                    buffer.copy_(buffers[name])


def mean_gradients(model: Callable, params: dict[str, Tensor], batches: Iterable, loss: Loss) -> dict[str, Tensor]:
    """Gradient of the mean loss over all examples of all batches and ranks; ``.grad`` is not touched."""
    grads = mean_over_examples(lambda batch: gradients(loss(model, batch), params), batches)
    return dict(zip(params, grads, strict=True))


def gradients(output: Tensor, params: dict[str, Tensor], **options: Any) -> list[Tensor]:
    """Gradient of a scalar by each parameter; ``options`` go to ``torch.autograd.grad``.

    Raises:
        UsageError: the scalar does not depend on a parameter, whose score would mean nothing.
    """
    grads = torch.autograd.grad(output, list(params.values()), allow_unused=True, **options)
    refuse_unused([name for name, grad in zip(params, grads, strict=True) if grad is None])
    return list(grads)


def refuse_unused(names: Collection[str]) -> None:
    """Weights that the loss does not depend on have no score."""
    if names:
        raise UsageError(
            f"the loss does not depend on {', '.join(names)}: leave them out with a scope (exclude=) or pass loss="
        )


def mean_over_examples(function: Callable[[Any], Iterable[Tensor]], batches: Iterable) -> list[Tensor]:
    """Average of per-batch means, weighted by batch length, over all ranks.

    Ranks are averaged here, before any criterion takes an absolute value: the mean of |.| is not |mean|.
    """
    total: list[Tensor] = []
    examples = 0
    for batch in batches:
        n = length(batch)
        parts = [part.detach() * n for part in function(batch)]
        total = [a.add_(b) for a, b in zip(total, parts, strict=True)] if total else parts
        examples += n
    if not examples:
        raise UsageError(NO_BATCHES)
    if several():
        count = torch.tensor(float(examples), device=total[0].device)
        for tensor in (*total, count):
            dist.all_reduce(tensor)
        examples = count.item()
    return [t.div_(examples) for t in total]


def needed(name: str, data: Iterable | None) -> Iterable:
    """The data, which this criterion cannot do without.

    Raises:
        UsageError: there are none.
    """
    if data is None:
        raise UsageError(f"criterion {name!r} needs data: pass data=batches of (inputs, labels)")
    if isinstance(data, list) and not data:
        raise UsageError(NO_BATCHES)
    return data


def example(data: Iterable | None, model: nn.Module) -> Any:
    """The inputs of the first batch, on the model's device: criteria that remove units run the network once.

    Raises:
        UsageError: there are no data.
    """
    if data is None:
        raise UsageError(
            "removing units needs one batch, to see which layers are joined: pass data=batches of (inputs, labels)"
        )
    batches = on_device(data, next(model.parameters()).device)
    if not batches:
        raise UsageError(NO_BATCHES)
    first = batches[0]
    return first[0] if isinstance(first, list | tuple) else first


def on_device(data: Iterable, device: torch.device) -> list:
    """The batches (or the one batch) as a list on the model's device; an iterator is read once."""
    if isinstance(data, Tensor | dict) or (isinstance(data, tuple) and isinstance(data[0], Tensor)):
        data = [data]
    if not isinstance(data, Iterable):
        raise UsageError(f"data is a {type(data).__name__}, not batches: pass a list or loader of (inputs, labels)")
    return [tree_map(lambda v: v.to(device) if isinstance(v, Tensor) else v, batch) for batch in data]


def length(batch: Any) -> int:
    """Examples of a batch."""
    if isinstance(batch, Tensor):
        return batch.shape[0]
    first = next(iter(batch.values() if isinstance(batch, dict) else batch))
    return length(first)
