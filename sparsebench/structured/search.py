"""Search: masks of units drawn at random, each judged by its untrained sub-network.

A candidate is judged as the smaller network it is, so what it costs shrinks with its density.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode

from sparsebench.errors import UsageError
from sparsebench.registry import criterion
from sparsebench.scope import scope_of
from sparsebench.scoring import Loss, length, mean_gradients, mean_over_examples, untouched
from sparsebench.selection import NonFiniteScore
from sparsebench.structured.products import Kept
from sparsebench.structured.scores import Scores
from sparsebench.structured.shrink import shrunk
from sparsebench.structured.units import UnitGroup


@dataclass(frozen=True)
class UnitBudget:
    """What a solver of units is given in place of scores: a network and how scores become units that stay."""

    model: nn.Module
    groups: Sequence[UnitGroup]
    batches: list
    loss: Loss
    seed: int
    select: Callable[[Scores], dict[str, Tensor]]
    """Scores of all units -> the units kept, at the density asked for."""
    notes: list[str] | None = None
    """Where a judgement that is not finite is noted; None = it is an error."""


@dataclass(frozen=True)
class Searched:
    """What a search came to."""

    kept: dict[str, Tensor]
    passes: int
    found: dict[str, Any] = field(default_factory=dict)
    """What is worth a place in the record, as JSON."""


def search(budget: UnitBudget, *, samples: int, passes: int = 0, objective: str = "init_loss") -> Searched:
    """The best of ``samples`` uniform draws; among equals the first, and objectives that are not finite are last.

    With ``passes`` there are as many draws as cost no more than so many forward passes of one example through the whole
    network, but one at least. ``found`` holds the objective of the kept and of the first draw, the loss of both,
    untrained (``initial_loss`` and ``initial_loss_first``), the units kept of each group's, and ``score_flops``.

    Raises:
        UsageError: samples or passes that count nothing, an unknown objective, or no data.
    """
    rule = _checked(budget, samples, passes, objective)
    generator = torch.Generator().manual_seed(budget.seed)
    draws = [_draw(budget, generator)]
    images = sum(map(length, budget.batches))
    each = (images if rule.on_data else 1) * rule.passes * _on(budget, draws[0], _flops)
    if passes:
        samples = max(1, int(passes * _flops(budget.model, budget.batches, budget.loss) / each))
    draws += [_draw(budget, generator) for _ in range(samples - 1)]
    with untouched(budget.model, train=rule.train):
        values = [_on(budget, kept, rule.judge) for kept in draws]
    best = max(range(samples), key=lambda k: rule.sign * values[k] if isfinite(values[k]) else -inf)
    if not isfinite(values[best]):
        if budget.notes is None:
            raise NonFiniteScore(f"{objective} is not finite for any of {samples} sub-networks: the weights diverged")
        budget.notes.append("scores not finite")
    with untouched(budget.model, train=True):
        known = rule.judge is initial_loss
        losses = [values[k] if known else _on(budget, draws[k], initial_loss) for k in (best, 0)]
    numbers = {"value": values[best], "value_first": values[0]}
    numbers |= {"initial_loss": losses[0], "initial_loss_first": losses[1]}
    found = {
        "samples": samples,
        "objective": objective,
        "images": images,
        "score_flops": each * samples,
        "units": {name: [int(kept.sum()), len(kept)] for name, kept in draws[best].items()},
    }
    return Searched(draws[best], samples, found | {n: v if isfinite(v) else None for n, v in numbers.items()})


def _checked(budget: UnitBudget, samples: Any, passes: Any, objective: str) -> Objective:
    """The objective, all else being sensible."""
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise UsageError(f"samples={samples!r} counts the masks that are drawn and must be a whole number from 1")
    if isinstance(passes, bool) or not isinstance(passes, int) or passes < 0:
        raise UsageError(f"passes={passes!r} counts forward passes and must be a whole number from 1, or 0 for none")
    if objective not in OBJECTIVES:
        raise UsageError(f"objective={objective!r} is not one of {', '.join(OBJECTIVES)}")
    if not budget.batches:
        raise UsageError("random search judges masks on data: pass data=batches of (inputs, labels)")
    return OBJECTIVES[objective]


def _draw(budget: UnitBudget, generator: torch.Generator) -> dict[str, Tensor]:
    """The units that uniform scores keep."""
    return budget.select({group.name: torch.rand(group.size, generator=generator) for group in budget.groups})


def _on(budget: UnitBudget, kept: Kept, judge: Callable) -> float:
    """What a judge says of the sub-network of some units."""
    with shrunk(budget.model, budget.groups, kept):
        return judge(budget.model, budget.batches, budget.loss)


def initial_loss(model: nn.Module, batches: list, loss: Loss) -> float:
    """Mean loss over all examples."""
    with torch.no_grad():
        return float(mean_over_examples(lambda batch: [loss(model, batch).double()], batches)[0])


def snip_sum(model: nn.Module, batches: list, loss: Loss) -> float:
    """Sum of ``|w dL/dw|`` over all prunable weights."""
    params = scope_of(model).prunable
    grads = mean_gradients(model, params, batches, loss)
    return float(sum((p.detach() * grads[n]).abs().sum(dtype=torch.float64) for n, p in params.items()))


def synflow_sum(model: nn.Module, batches: list, loss: Loss) -> float:
    """Sum of ``|w dR/dw|`` over all prunable weights, R the output of the network with absolute weights on ones."""
    scores = criterion.get("synflow")(model, scope_of(model).prunable, batches, loss)
    return float(sum(score.sum() for score in scores.values()))


def _flops(model: nn.Module, batches: list, loss: Loss) -> int:
    """Floating-point operations of one example's forward pass: two a multiply-accumulate."""
    with untouched(model, train=False), torch.no_grad(), FlopCounterMode(display=False) as counter:
        loss(model, tree_map(lambda v: v[:1] if isinstance(v, Tensor) else v, batches[0]))
    return counter.get_total_flops()


class Objective(NamedTuple):
    """How a candidate is judged."""

    judge: Callable[[nn.Module, list, Loss], float]
    sign: int
    """1: larger is better."""
    train: bool
    """Mode of the network."""
    passes: int
    """What one example costs, in forward passes; a backward pass costs two."""
    on_data: bool = True


OBJECTIVES = {
    "init_loss": Objective(initial_loss, -1, True, 1),
    "snip_sum": Objective(snip_sum, 1, True, 3),
    "synflow_sum": Objective(synflow_sum, 1, False, 3, on_data=False),
}
