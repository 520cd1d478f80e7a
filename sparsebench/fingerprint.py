"""Fingerprint: the choices of a method that papers leave out and that decide whether numbers can be compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sparsebench.allocation import LIKE, split_allocation
from sparsebench.patterns import NM, Block
from sparsebench.phases import Gradual, Phase, Prune, Recalibrate, Rewind, Scorer, Train
from sparsebench.registry import criterion
from sparsebench.registry import regime as regimes


def fingerprint(
    scorer: Scorer | None,
    regime: str,
    regime_arguments: dict[str, Any],
    modifiers: tuple[tuple[str, dict[str, Any]], ...],
    phases: Callable[[float], list[Phase]],
) -> dict[str, Any]:
    """Scope, counts, ties, data, mode and precision of scoring, what is rewound and what is reset, as plain text.

    None where a choice does not arise.
    """
    allocation = scorer.allocation if scorer else regime_arguments.get("allocation")
    pattern = split_allocation(str(allocation))[1] if allocation else None
    steps = phases(1 - pattern.density if isinstance(pattern, NM) else 0.5)
    prunes = regime != "dense"
    return {
        "criterion": scorer.criterion if scorer else None,
        "criterion_arguments": scorer.arguments if scorer else {},
        "inverted": any(step.invert for step in _scorers(steps)),
        "allocation": allocation,
        "regime": regime,
        "regime_arguments": regime_arguments,
        "modifiers": [list(m) for m in modifiers],
        "scope": "weights of convolution, linear and attention layers, classifier included",
        "count": _count(scorer, regimes.entry(regime).traits, pattern) if prunes else None,
        "ties": _ties(scorer) if prunes else None,
        **_scoring(scorer, regimes.entry(regime).traits, pattern, steps),
        "batch_norm": "statistics estimated anew" if any(isinstance(s, Recalibrate) for s in steps) else "as trained",
        "source": scorer.source if scorer else None,
        "rewind": _rewind(steps),
        **_activation(steps),
        **_learning(steps),
        "optimizer": "fresh at the start of every training, or the rewind point's",
        "data_order": "new in every training, equal between methods of one seed",
    }


def _scoring(
    scorer: Scorer | None, regime: dict[str, Any], pattern: NM | Block | None, steps: list[Phase]
) -> dict[str, Any]:
    """On what, how and how often weights are scored."""
    nothing = dict.fromkeys(("floor", "weights_kept", "scoring_mode", "scoring_images", "scoring_batch"))
    if scorer is None:
        by = regime.get("scoring")
        return {**nothing, "scoring_examples": by, "scoring_dtype": None, "scoring_rounds": by and "every update"}
    traits = criterion.entry(scorer.criterion).traits
    said = {
        **nothing,
        "floor": traits.get("floor", 0) if split_allocation(scorer.allocation)[0] == "global" else 0,
        "weights_kept": "changed by the criterion" if traits.get("moves_weights") else "as they were",
        "scoring_dtype": traits.get("dtype", "float32"),
    }
    if traits.get("accumulates") and any(isinstance(s, Train) and s.pruner for s in steps):
        how = {
            "scoring_mode": "train",
            "scoring_images": "training batches as they come",
            "scoring_batch": "the task's",
        }
        return {**said, **how, "scoring_examples": "all of the training", "scoring_rounds": "every step"}
    if not {"per_class", "examples"} & traits.keys() and scorer.allocation.startswith(LIKE):
        traits = {**traits, **criterion.entry(scorer.allocation.removeprefix(LIKE)).traits}
    examples = f"{traits['per_class']} a class" if "per_class" in traits else traits.get("examples", "none")
    return {
        **said,
        "scoring_mode": traits.get("mode", "eval"),
        "scoring_examples": examples,
        "scoring_images": "training split, un-augmented",
        "scoring_batch": traits.get("batch", "in one piece, or summed over pieces"),
        "scoring_rounds": 1 if isinstance(pattern, NM) else traits.get("rounds", 1),
    }


def _scorers(steps: list[Phase]) -> list[Scorer]:
    gradual = [s.pruner.scorer for s in steps if isinstance(s, Train) and isinstance(s.pruner, Gradual)]
    return [*gradual, *(s.scorer for s in steps if isinstance(s, Prune))]


def _count(scorer: Scorer | None, regime: dict[str, Any], pattern: NM | Block | None) -> str:
    traits = criterion.entry(scorer.criterion).traits if scorer else {}
    if "structure" in traits:
        return "the fewest units whose removal leaves at most round(density * prunable) weights"
    if isinstance(pattern, NM):
        return f"{pattern.n} of every {pattern.m} inputs; tensors whose inputs are no multiple of {pattern.m} are dense"
    if isinstance(pattern, Block):
        return "the best blocks, in order, while they hold at most round(density * prunable) weights"
    return regime.get("count", "round(density * prunable), exact")


def _ties(scorer: Scorer | None) -> str:
    if scorer and "structure" in criterion.entry(scorer.criterion).traits:
        return "the first group's units stay longest, in a group those of lowest index"
    return "first in parameter order, then in flat index"


def _activation(steps: list[Phase]) -> dict[str, str]:
    """What AP removes; nothing where there is none, as in older records."""
    prunings = [s.pruner if isinstance(s, Train) else s for s in steps]
    ap = next((p.ap for p in prunings if isinstance(p, Prune | Gradual) and p.ap), None)
    if ap is None:
        return {}
    which = "weights" if ap.sign == "both" else f"{ap.sign} weights"
    rule = {
        "movement": "that moved least since the start of the training (or the update) before",
        "magnitude": "of least magnitude",
        "random": "at random",
    }[ap.score]
    count = f"round({ap.q:g} * alive) {which} {rule}, in one ranking; at most half of a pruning"
    return {"activation": f"{count}; where there are too few, the criterion removes the rest"}


def _learning(steps: list[Phase]) -> dict[str, str]:
    """What trainings learn from besides labels and all images; nothing where there is no such thing."""
    trainings = [step for step in steps if isinstance(step, Train)]
    said = {}
    if distill := next((training.distill for training in trainings if training.distill), None):
        feature = f" + {distill.beta:g} {distill.feature}" if distill.beta else ""
        loss = f"{distill.gamma:g} CE + {distill.alpha:g} T^2 KL at T = {distill.temperature:g}{feature}"
        said["teacher"] = (
            f"the dense network of the seed, in evaluation mode, on the same augmented batch: {loss}; "
            "its training counts in the cost"
        )
    if profile := next((training.unbalanced for training in trainings if training.unbalanced), None):
        said["training_images"] = (
            f"after the first pruning a fixed part of some classes' ({profile}: 10, 20 and 50 % for a twentieth of the "
            "classes each); epochs are shorter, scoring and the teacher use all"
        )
    return said


def _rewind(steps: list[Phase]) -> str | None:
    points = {step.to for step in steps if isinstance(step, Rewind)}
    if not points:
        return None
    what = "weights, biases, norm parameters and statistics"
    return "; ".join(
        f"{what} at initialisation" if to == 0 else f"{what}, optimiser and schedule at {to:g} of the dense training"
        for to in sorted(points)
    )


def plain(value: Any) -> str:
    """A fingerprint's value as text.

    >>> plain({"rate": 0.5}), plain(None), plain([["shuffle", {}]]), plain(0)
    ('rate=0.5', 'none', 'shuffle', '0')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        value = ", ".join(f"{key}={item!r}" for key, item in value.items())
    if isinstance(value, list):
        value = ", ".join(f"{name}({plain(given)})" if given else name for name, given in value)
    return "none" if value is None or value == "" else str(value)
