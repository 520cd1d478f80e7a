"""Fingerprint: the choices of a method that papers leave out and that decide whether numbers can be compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sparsebench.allocation import split_allocation
from sparsebench.patterns import NM, Block
from sparsebench.phases import Phase, Prune, Recalibrate, Rewind, Scorer
from sparsebench.registry import criterion, solver


def fingerprint(
    scorer: Scorer | None,
    regime: str,
    regime_arguments: dict[str, Any],
    modifiers: tuple[tuple[str, dict[str, Any]], ...],
    phases: Callable[[float], list[Phase]],
) -> dict[str, Any]:
    """Scope, counts, ties, data, mode and precision of scoring, what is rewound and what is reset, as plain text."""
    traits = criterion.entry(scorer.criterion).traits if scorer else {}
    allocation = scorer.allocation if scorer else regime_arguments.get("allocation")
    pattern = split_allocation(str(allocation))[1] if allocation else None
    steps = phases(1 - pattern.density if isinstance(pattern, NM) else 0.5)
    return {
        "criterion": scorer.criterion if scorer else None,
        "criterion_arguments": scorer.arguments if scorer else {},
        "inverted": any(isinstance(step, Prune) and step.scorer.invert for step in steps),
        "allocation": allocation,
        "regime": regime,
        "regime_arguments": regime_arguments,
        "modifiers": [list(m) for m in modifiers],
        "scope": "weights of convolution, linear and attention layers, classifier included",
        "count": _count(traits, pattern),
        "ties": "first in parameter order, then in flat index",
        "floor": traits.get("floor", 0) if allocation == "global" else 0,
        "weights_kept": "changed by the criterion" if scorer and scorer.criterion in solver.entries else "as they were",
        "scoring_mode": traits.get("mode", "eval"),
        "scoring_examples": f"{traits['per_class']} a class"
        if "per_class" in traits
        else traits.get("examples", "none"),
        "scoring_images": "training split, un-augmented",
        "scoring_dtype": traits.get("dtype", "float32"),
        "scoring_rounds": 1 if isinstance(pattern, NM) else traits.get("rounds", 1),
        "batch_norm": "statistics estimated anew" if any(isinstance(s, Recalibrate) for s in steps) else "as trained",
        "source": scorer.source if scorer else None,
        "rewind": _rewind(steps),
        "optimizer": "fresh at the start of every training, or the rewind point's",
        "data_order": "new in every training, equal between methods of one seed",
    }


def _count(traits: dict[str, Any], pattern: NM | Block | None) -> str:
    if "structure" in traits:
        return "the fewest units whose removal leaves at most round(density * prunable) weights"
    if isinstance(pattern, NM):
        return f"{pattern.n} of every {pattern.m} inputs; tensors whose inputs are no multiple of {pattern.m} are dense"
    if isinstance(pattern, Block):
        return "the best blocks, in order, while they hold at most round(density * prunable) weights"
    return "round(density * prunable), exact"


def _rewind(steps: list[Phase]) -> str | None:
    points = {step.to for step in steps if isinstance(step, Rewind)}
    if not points:
        return None
    what = "weights, biases, norm parameters and statistics"
    return "; ".join(
        f"{what} at initialisation" if to == 0 else f"{what}, optimiser and schedule at {to:g} of the dense training"
        for to in sorted(points)
    )
