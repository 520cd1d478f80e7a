"""Traps: what has misled people about a method, as far as its traits and phases give it away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sparsebench.allocation import LIKE, split_allocation
from sparsebench.criteria import is_structured, looks_at_data
from sparsebench.methods import Method
from sparsebench.patterns import NM, Block
from sparsebench.phases import Dynamic, Gradual, Latent, Phase, Prune, Recalibrate, Rewind, Train
from sparsebench.registry import criterion
from sparsebench.report.cards.subject import Subject


def traps(subject: Subject) -> Iterator[str]:
    """Sentences, the most costly mistake first; of a bare part its own alone."""
    method = subject.method
    kind = subject.part.kind if subject.part else "all"
    phases = method.phases(0.9 if method.fixed_sparsity is None else method.fixed_sparsity)
    if kind == "all" and method.scorer:
        traits = criterion.entry(method.scorer.criterion).traits
        yield from _of_units(method) if is_structured(method.scorer.criterion) else _of_weights(method, traits)
        yield from _of_scoring(method, traits)
    if kind in ("all", "regime"):
        yield from _of_training(phases)
    if kind in ("all", "modifier"):
        yield from _of_controls(method)


def _of_weights(method: Method, traits: dict[str, Any]) -> Iterator[str]:
    rule, pattern = split_allocation(method.scorer.allocation)
    if isinstance(pattern, NM):
        yield (
            f"It has one sparsity, {1 - pattern.density:g}, and so no overall rank. Zeros in this pattern are faster "
            "on GPUs with sparse tensor cores only."
        )
    if isinstance(pattern, Block):
        yield "Blocks are whole, so slightly fewer than `round(density * prunable)` weights may be kept."
    if rule == "global" and not pattern and not traits.get("floor"):
        yield "No floor: only the scores keep the global ranking from emptying a layer; an empty one flags the cell."
    if rule.startswith(LIKE):
        yield f"The layer counts are {rule.removeprefix(LIKE)}'s: that criterion is scored too, on the data it needs."
    if other := traits.get("within_layer_order"):
        yield f"Within a layer it ranks as {other} does: a per-layer allocation would make it {other}, and is refused."


def _of_units(method: Method) -> Iterator[str]:
    yield (
        "Sparsity is met from above by whole units: a little more is removed than asked. Parameters and "
        "multiply-accumulates are those of the smaller network; compare it with other structured rows, not with single "
        "weights of the same sparsity."
    )
    if method.scorer.allocation == "global":
        yield "Under one global ranking a layer may shrink to its last unit."


def _of_scoring(method: Method, traits: dict[str, Any]) -> Iterator[str]:
    if rounds := traits.get("rounds"):
        yield f"It prunes in {rounds} rounds of its own; pruned at once by the same score it is another method."
    if traits.get("accumulates"):
        yield "Outside `@ramp` and `@gmp` its steps are plain gradient descent on a copy, not your training."
    elif looks_at_data(method.scorer.criterion, method.scorer.allocation) and {"per_class", "examples"} & traits.keys():
        many = traits.get("examples") or f"{traits['per_class']} a class"
        yield f"Scores depend on the images they are computed on: here {many}, un-augmented, from the training split."
    if traits.get("mode") == "train":
        yield "Batch norm is in training mode while it scores, so the scores depend on how the images are batched."
    if "batch" in traits:
        yield f"Scores depend on the size of the mini-batch ({traits['batch']} here)."
    if traits.get("moves_weights"):
        yield "It changes the weights it keeps: its masks on the weights from before are not its result."
    if traits.get("dtype") == "float64":
        yield "It computes in float64, which is slow on most GPUs."


def _of_training(phases: Sequence[Phase]) -> Iterator[str]:
    trainings = [p for p in phases if isinstance(p, Train)]
    pruners = [p.pruner for p in trainings if p.pruner]
    rewinds = [p.to for p in phases if isinstance(p, Rewind)]
    if len(trainings) > 2:
        yield f"At 90 % it trains {len(trainings)} times: compare it with methods of the same budget."
    if rewinds and not any(rewinds):
        yield (
            "It rewinds to the initial weights, which is known to fail on larger networks and data where rewinding to "
            "an early step works: `rewind=0.05` (arXiv:1912.05671)."
        )
    if any(isinstance(p, Recalibrate) for p in phases):
        yield "Nothing is trained after pruning; without the new batch-norm statistics it would look worse."
    if any(isinstance(p, Gradual) for p in pruners) and len(trainings) == 1:
        yield "Begun inside the warm-up of a short recipe it removes weights that say nothing yet; boards set `begin`."
    if any(isinstance(p, Dynamic) for p in pruners):
        yield "Dynamic masks need long training: on short recipes weights move a few times only."
    if any(isinstance(p, Latent) for p in pruners):
        yield "Masks are not nested, weights return; while it trains memory holds a dense copy of the weights."
    if len(trainings) == 2 and trainings[-1].epochs < 1:
        short = trainings[-1]
        yield f"Fine-tuning is short ({short.epochs:g} of the epochs at {short.rate:g} of the peak rate)."
    if isinstance(phases[0], Prune):
        yield "It prunes before training: read it beside its own `+shuffle` before you credit single weights."


PARTS_OF_METHODS = ("ap", "kd")
"""Modifiers that are proposed as methods; the others are controls."""


def _of_controls(method: Method) -> Iterator[str]:
    controls = [name for name, _ in method.modifiers if name not in PARTS_OF_METHODS]
    if controls:
        names = " ".join(f"`+{name}`" for name in controls)
        yield f"With {names} it is a control: read it beside the row without, not as a method of its own."
