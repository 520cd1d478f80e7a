"""Pruners: the pruning callback of a training, what it scores on, and what it leaves for the audit."""

from __future__ import annotations

from functools import partial

import torch

from sparsebench.allocation import LIKE
from sparsebench.callbacks import DynamicSparsity, LatentSparsity, Pruner
from sparsebench.callbacks.schedules import Cubic
from sparsebench.grid.activating import ActivatingPruner
from sparsebench.grid.state import UNTOUCHED, State
from sparsebench.grid.watch import GradualPruner
from sparsebench.phases import Dynamic, Gradual, Latent, Scorer, Train
from sparsebench.protocol import derived_seed
from sparsebench.registry import criterion


def make_pruner(state: State, phase: Train, data) -> Pruner | None:
    """The callback that a training needs: fixed masks, a gradual or a dynamic schedule, or none."""
    every = state.task.recipe.mask_every
    seed = derived_seed(state.seed, "masks")
    match phase.pruner:
        case Latent(rule, sparsity, allocation, interval, arguments):
            return LatentSparsity(rule, sparsity, allocation=allocation, every=interval or every, on="net", **arguments)
        case Gradual(scorer, sparsity, begin, end, interval) if accumulates(scorer):
            return LatentSparsity(
                scorer.criterion,
                sparsity,
                allocation=scorer.allocation,
                every=interval or every,
                begin=begin,
                end=end,
                invert=scorer.invert,
                on="net",
            )
        case Gradual(scorer, sparsity, begin, end, interval):
            schedule = Cubic(begin, end, interval or every)
            kind = partial(ActivatingPruner, phase.pruner.ap) if phase.pruner.ap else GradualPruner
            return kind(
                f"{scorer.criterion}/{scorer.allocation}", sparsity, schedule=schedule, on="net", seed=seed,
                invert=scorer.invert, data=lambda: scoring_data(scorer, data, seed), **scorer.arguments,
            )  # fmt: skip
        case Dynamic(rule, sparsity, allocation, interval, fraction, end):
            return DynamicSparsity(
                rule,
                sparsity,
                allocation=allocation,
                every=interval or every,
                fraction=fraction,
                end=end,
                on="net",
                seed=seed,
            )
    return Pruner(masks=state.masks, on="net") if state.masks is not None else None


def accumulates(scorer: Scorer) -> bool:
    """Whether scores add up over training steps, so that a gradual schedule needs latent weights."""
    return criterion.entry(scorer.criterion).traits.get("accumulates", False)


def scoring_data(scorer: Scorer, data, seed: int) -> list:
    """What a criterion asks for of the training split, un-augmented.

    If it needs none of its own, what the criterion asks for whose layer counts it takes; to remove units, a few
    images to see how the layers are joined.
    """
    traits = criterion.entry(scorer.criterion).traits
    if not {"per_class", "examples"} & traits.keys() and scorer.allocation.startswith(LIKE):
        traits = criterion.entry(scorer.allocation.removeprefix(LIKE)).traits
    if "per_class" in traits:
        return data.per_class(traits["per_class"], seed)
    if "batch" in traits:
        x, y = (torch.cat(parts) for parts in zip(*data.probe(traits["examples"]), strict=True))
        return list(zip(x.split(traits["batch"]), y.split(traits["batch"]), strict=True))
    if "examples" in traits:
        return data.probe(traits["examples"])
    return data.probe(2) if "structure" in traits else []


def audit_pruner(state: State, pruner: Pruner, phase: Train) -> None:
    """Note in the state what the audit asks of a pruner after its training, and what its masks cost."""
    state.report["score_seconds"] += pruner.score_seconds
    state.report["score_passes"] += pruner.score_passes
    state.note(2, pruner.leaked == 0, f"{pruner.leaked} pruned entries of weights or optimiser state were not 0")
    kept = [entry["kept"] for entry in pruner.history]
    if isinstance(pruner, GradualPruner):
        state.note(7, pruner.untouched, UNTOUCHED)
        for text in pruner.notes:
            state.flag(text)
        state.note(3, all(e["nested"] for e in pruner.history), f"{len(kept)} nested updates")
    if isinstance(pruner, LatentSparsity):
        returned = sum(entry["returned"] for entry in pruner.history)
        counts = f"{len(kept)} updates with the scheduled count"
        state.note(3, pruner.on_schedule, f"{counts}; masks move by definition, {returned} weights returned at them")
    if isinstance(phase.pruner, Dynamic):
        state.note(3, len(set(kept)) == 1, f"{len(kept) - 1} updates at {kept[0]} kept weights")
    for entry in pruner.history:
        for name in entry["emptied"]:
            state.flag(f"layer {name} emptied")
