"""Score rules: what must hold of every criterion, held on small networks of every kind."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from sparsebench.audit import exact_count
from sparsebench.criteria import default_allocation, split_method
from sparsebench.errors import UsageError
from sparsebench.functional import pruning
from sparsebench.masks import Masks
from sparsebench.scope import scope_of
from sparsebench.scoring import NEEDS
from sparsebench.selection import select
from sparsebench.snapshot import state_digest
from sparsebench.submission.held import Held
from sparsebench.submission.networks import batches, frozen, half_pruned, network, shared
from sparsebench.submission.rule import Rule, explain, rule
from sparsebench.submission.scored import Scored, Scores
from sparsebench.submission.threads import as_ranks

OTHER_ALLOCATIONS = ("uniform", "erk", "2:4", "block2x2")
CLEARLY_WORSE = 1.2
"""How much more what is kept must change the outputs than what is removed, before the sign is taken for wrong."""
LONG = 0.1
"""Seconds that are told well enough by one measurement."""
SECONDS, TIMES, BYTES = 5.0, 1000, 1000
"""Scoring a network of ten thousand weights may take so long or so many times magnitude's time, and hold so many times
the bytes of its weights: with more a network of ten million weights is out of reach."""

RULES: list[Rule] = []


@rule(
    RULES,
    "scores a perceptron, a residual network, a VGG and a transformer without an error",
    "read the error; SPARSEBENCH_TRACEBACK=1 shows where. What a criterion is given follows from needs=",
)
def runs(subject: Scored) -> Iterator[str]:
    needs = (*NEEDS, "norm") if subject.units else NEEDS
    if subject.needs not in needs:
        yield f"needs={subject.needs!r} is not one of {', '.join(needs)}"
        return
    for kind in subject.kinds:
        try:
            subject.first(kind)
        except Exception as error:
            yield f"{kind}: {explain(error, subject.file)}"


@rule(
    RULES,
    "one score a weight, in its weight's shape (units: one a unit)",
    "return a floating-point tensor of the shape of what was given; for needs='model' one for every name in params "
    "and no others",
    after=("runs",),
)
def shape(subject: Scored) -> Iterator[str]:
    for kind in subject.kinds:
        shapes = _shapes(subject, network(kind))
        yield from (f"{kind}: {fault}" for fault in _misshapen(subject.first(kind), shapes))


def _shapes(subject: Scored, net: nn.Module) -> dict[str, tuple[int, ...]]:
    if not subject.units:
        return scope_of(net).shapes
    from sparsebench.structured import unit_groups

    return {group.name: (group.size,) for group in unit_groups(net, batches()[0][0])}


def _misshapen(found: Any, shapes: dict[str, tuple[int, ...]]) -> Iterator[str]:
    """The first tensor whose score is missing or of another form, and the first score that nobody asked for."""
    if not isinstance(found, dict):
        yield f"returns a {type(found).__name__}, wanted is {{name: score}}"
        return
    for name, wanted in shapes.items():
        score = found.get(name)
        if not isinstance(score, Tensor):
            got = "nothing" if score is None else f"a {type(score).__name__}"
        elif tuple(score.shape) != wanted:
            got = f"shape {tuple(score.shape)}"
        elif not score.is_floating_point():
            got = f"dtype {score.dtype}"
        else:
            continue
        yield f"{name} got {got}, a floating-point score of shape {wanted} is wanted"
        break
    if odd := sorted(set(found) - set(shapes)):
        yield f"a score for {odd[0]!r}, which is not prunable"


@rule(
    RULES,
    "scores are finite, also on a network that is half pruned",
    "guard divisions and logarithms (x / y.clamp_min(1e-12)) and compute sums that overflow in float64; pruned "
    "weights are exactly 0, and a whole tensor of them can be",
    after=("shape",),
)
def finite(subject: Scored) -> Iterator[str]:
    for kind in subject.kinds:
        for state, found in (("", subject.first(kind)), (", half pruned", subject.scores(half_pruned(kind)))):
            bad = {name: int((~torch.isfinite(s)).sum()) for name, s in found.items()}
            name = next((name for name, count in bad.items() if count), None)
            if name:
                yield f"{kind}{state}: {sum(bad.values())} scores are NaN or infinite, the first in {name}"


@rule(
    RULES,
    "the same network, data and seed give the same scores",
    "draw random numbers from the generator that needs='random' hands over, never from torch's, numpy's or Python's; "
    "keep nothing from one call to the next",
    after=("shape",),
)
def deterministic(subject: Scored) -> Iterator[str]:
    for kind in subject.kinds:
        net = network(kind)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            numpy.random.seed(1)
            random.seed(1)
            found = subject.scores(net)
        if name := _unequal(subject.first(kind), found):
            yield f"{kind}: scores of {name} differ from one call to the next"
    if subject.needs == "random":
        net = network(subject.kinds[0])
        if not _unequal(subject.scores(net, seed=1), subject.scores(net, seed=2)):
            yield "seeds 1 and 2 give the same scores: the generator is not used"


def _unequal(a: Scores, b: Scores) -> str | None:
    return next((name for name in a if not torch.equal(a[name].nan_to_num(), b[name].nan_to_num())), None)


@rule(
    RULES,
    "weights, gradients, data and hooks are as they were before",
    "use no functions that end in _ (abs_, mul_) on what you are given; take gradients by torch.autograd.grad and not "
    "by .backward(); remove hooks in a finally",
    after=("runs",),
    name="untouched",
)
def leaves_as_found(subject: Scored) -> Iterator[str]:
    for kind in subject.kinds:
        net, data = network(kind), batches()
        before, images = _state(net), [x.clone() for x, _ in data]
        subject.scores(net, data)
        if subject.solves:
            pruning(net, subject.name, sparsity=0.5, data=data, notes=[])
        yield from (f"{kind}: {what} changed" for what, value in _state(net).items() if value != before[what])
        if any(not torch.equal(x, y) for x, (y, _) in zip(images, data, strict=True)):
            yield f"{kind}: the data changed"


def _state(net: nn.Module) -> dict[str, Any]:
    return {
        "weights": state_digest(net),
        "gradients": [None if p.grad is None else float(p.grad.abs().sum()) for p in net.parameters()],
        "requires_grad": [p.requires_grad for p in net.parameters()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in net.modules()],
        "modes": [module.training for module in net.modules()],
    }


@rule(
    RULES,
    "exact counts at every sparsity, also with shared and frozen weights",
    "a criterion scores what is in params and nothing else; a solver takes its masks from budget.select",
    after=("shape", "finite"),
)
def counts(subject: Scored) -> Iterator[str]:
    extra = {} if subject.units else {"shared weights": shared(), "frozen weights": frozen()}
    for kind, net in ({kind: network(kind) for kind in subject.pruned_kinds} | extra).items():
        selects = not subject.units and not subject.solves
        for sparsity in subject.sparsities[-1:] if selects else subject.sparsities:
            masks = subject.prune(net, sparsity).masks
            if why := _inexact(subject, net, masks, sparsity):
                yield f"{kind} at {sparsity:g}: {why}"
        if selects:
            raw = subject.scores(net)
            floor, own = subject.traits.get("floor", 0), default_allocation(subject.name)
            for sparsity in subject.sparsities[:-1]:
                if why := _inexact(subject, net, select(raw, 1 - sparsity, allocation=own, floor=floor), sparsity):
                    yield f"{kind} at {sparsity:g}: {why}"
            for allocation in filter(partial(_sensible, subject.name), OTHER_ALLOCATIONS):
                exact, count = exact_count(select(raw, 0.5, allocation=allocation), 0.5, allocation)
                if not exact:
                    yield f"{kind} under {allocation}: not {count}"


def _inexact(subject: Scored, net: nn.Module, masks: Masks, sparsity: float) -> str | None:
    if subject.units:
        from sparsebench.structured import misses

        return misses(net, masks, batches()[0][0], 1 - sparsity)
    scope = scope_of(net)
    if set(masks) != set(scope.prunable):
        return f"{len(masks)} tensors are masked, {len(scope.prunable)} are prunable"
    exact, asked = exact_count(masks, sparsity, default_allocation(subject.name))
    return None if exact else f"{masks.kept} weights kept, {asked}"


def _sensible(name: str, allocation: str) -> bool:
    try:
        split_method(f"{name}/{allocation}")
    except UsageError:
        return False
    return True


@rule(
    RULES,
    "pruning in rounds gives nested masks",
    "what budget.masks has removed stays removed: take masks from budget.select, which sees to it",
    after=("counts",),
)
def nested(subject: Scored) -> Iterator[str]:
    if len(subject.sparsities) < 2:
        return
    for kind in subject.pruned_kinds if subject.solves else subject.pruned_kinds[:1]:
        net, before = network(kind), None
        for sparsity in subject.sparsities[:3]:
            step = subject.prune(net, sparsity, masks=before)
            if before is not None and not step.masks.nested_in(before):
                yield f"{kind}: masks at {sparsity:g} keep weights that were removed before"
            before = step.masks
            step.apply(net)


@rule(
    RULES,
    "works in float64",
    "make new tensors like those you are given (torch.zeros_like, weight.new_zeros), not in float32",
    after=("shape",),
)
def double(subject: Scored) -> Iterator[str]:
    data = _in_double(batches())
    for kind in subject.kinds:
        try:
            found = subject.scores(network(kind).double(), data)
        except Exception as error:
            yield f"{kind}: {explain(error, subject.file)}"
            continue
        if bad := [name for name, s in found.items() if not torch.isfinite(s).all()]:
            yield f"{kind}: scores of {bad[0]} are not finite"


def _in_double(data: Iterable[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    return [(x.double(), y) for x, y in data]


def _looks_at_batches(subject: Scored) -> bool:
    return (
        subject.needs in ("gradient", "model")
        and not {"batch", "accumulates"} & subject.traits.keys()
        and not subject.units
    )


@rule(
    RULES,
    "scores do not depend on how the examples are cut into batches",
    "average over examples (sparsebench.scoring.mean_over_examples, mean_gradients) before any absolute value or "
    "square; where the size of a batch is part of the method say so by the trait batch=",
    after=("shape",),
    applies=_looks_at_batches,
)
def batching(subject: Scored) -> Iterator[str]:
    x, y = (torch.cat(parts) for parts in zip(*_in_double(batches()), strict=True))
    net = network("mlp").double()  # without batch norm, whose statistics are those of a batch
    whole = subject.scores(net, [(x, y)])
    for sizes in ((12, 7), (7, 12)):
        parts = subject.scores(net, list(zip(x.split(sizes), y.split(sizes), strict=True)))
        for name, score in whole.items():
            apart = float((parts[name] - score).norm() / score.norm().clamp_min(1e-300))
            if apart > 1e-4:
                yield f"batches of {sizes[0]} and {sizes[1]} in place of one: scores of {name} differ by {apart:.1%}"
                return


@rule(
    RULES,
    "processes that see different data come to the same scores",
    "what is computed from a batch is averaged over processes, before any absolute value or square: use "
    "sparsebench.scoring.mean_over_examples or mean_gradients",
    after=("shape",),
    applies=lambda subject: subject.needs == "model",
)
def ranks(subject: Scored) -> Iterator[str]:
    data = _in_double(batches())
    nets = [network("mlp").double() for _ in data]
    first, second = as_ranks(2, lambda rank: subject.scores(nets[rank], [data[rank]]))
    for name, score in first.items():
        apart = float((second[name] - score).norm() / score.norm().clamp_min(1e-300))
        if apart > 1e-9:
            yield f"two processes with different examples: scores of {name} differ by {apart:.1%}"
            return


@rule(
    RULES,
    "larger = keep",
    "the weights with the largest scores are kept: turn the sign if yours are those to remove",
    after=("counts",),
    applies=lambda subject: not subject.units and not subject.solves,
    name="larger",
)
def larger_is_kept(subject: Scored) -> Iterator[str]:
    ratios = {}
    for kind in subject.kinds:
        net = network(kind).eval()
        raw = subject.scores(net)
        kept, dropped = (_change(net, {n: sign * s for n, s in raw.items()}) for sign in (1, -1))
        ratios[kind] = kept / max(dropped, 1e-12)
    if min(ratios.values()) > CLEARLY_WORSE:
        worst = min(ratios, key=ratios.get)
        yield (
            f"keeping the half with the largest scores changes the outputs {ratios[worst]:.1f} times as much "
            "as keeping the other half, or more, on every network"
        )


@torch.no_grad()
def _change(net: nn.Module, scores: Scores) -> float:
    """How far the outputs move when half of every tensor is pruned, relative to their size."""
    x = batches()[0][0]
    before, whole = net(x), {n: p.clone() for n, p in net.named_parameters()}
    select(scores, 0.5, allocation="uniform").apply(net)
    after = net(x)
    for name, parameter in net.named_parameters():
        parameter.copy_(whole[name])
    return float((after - before).norm() / before.norm())


@rule(
    RULES,
    f"scoring takes at most {SECONDS:g} s or {TIMES} times magnitude's time, and {BYTES} times the weights' memory",
    "replace loops over single weights by operations on whole tensors, and matrices of weights x weights by blocks",
    after=("runs",),
)
def cost(subject: Scored) -> Iterator[str]:
    net = network("vgg")
    rivals = [partial(subject.scores, net), partial(Scored("magnitude").scores, net)]
    seconds, usual = (_seconds(score) for score in rivals)
    size = sum(p.numel() * p.element_size() for p in scope_of(net).prunable.values())
    held = _peak_bytes(rivals[0]) / size
    subject.notes["cost"] = f"{max(1.0, seconds / usual):.0f} x the time of magnitude, {held:.1f} x the weights' memory"
    if seconds > SECONDS and seconds > TIMES * usual:
        yield f"{seconds:.1f} s for {size // 4} weights, {seconds / usual:.0f} times as long as magnitude"
    if held > BYTES:
        yield f"{held * size / 2**20:.0f} MiB for {size // 4} weights, {held:.0f} times their own size"


def _seconds(score: Any) -> float:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        score()
        times.append(time.perf_counter() - began)
        if times[-1] > LONG:
            break
    return max(min(times), 1e-6)


def _peak_bytes(score: Any) -> int:
    """The most bytes of new tensors that were held at once while scoring."""
    with Held() as held:
        score()
    return held.most
