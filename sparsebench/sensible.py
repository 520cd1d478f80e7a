"""Sensible: which combinations a method may not be made of, each refused with the reason."""

from __future__ import annotations

from math import isclose
from typing import Any

from sparsebench.allocation import LIKE, split_allocation
from sparsebench.criteria import is_structured
from sparsebench.errors import UsageError
from sparsebench.patterns import NM
from sparsebench.phases import Gradual, Phase, Prune, Rewind, Scorer, Shuffle, Train
from sparsebench.registry import Entry, criterion, solver


def check_regime(entry: Entry, scorer: Scorer | None, text: str) -> None:
    """A criterion where the regime has none, none where it needs one, rounds within rounds."""
    if entry.traits.get("criterion") == "none" and scorer:
        raise UsageError(
            f"method {text!r}: {entry.name} has a rule of its own and takes no criterion; write {entry.name!r}"
        )
    if entry.traits.get("criterion", "any") == "any" and not scorer:
        raise UsageError(f"method {text!r}: {entry.name} needs a criterion, such as 'magnitude@{entry.name}'")
    if scorer and entry.traits.get("single_round") and criterion.entry(scorer.criterion).traits.get("rounds", 1) > 1:
        raise UsageError(
            f"method {text!r}: {scorer.criterion} prunes in "
            f"{criterion.entry(scorer.criterion).traits['rounds']} rounds of its own, "
            f"{entry.name} brings its own schedule; use {scorer.criterion}@init"
        )


def check_phases(text: str, phases: list[Phase]) -> None:
    """N:M at another sparsity than its own; units in regimes and controls that move single weights."""
    for phase in phases:
        step = phase.pruner if isinstance(phase, Train) else phase
        if not isinstance(step, Prune | Gradual):
            continue
        pattern = split_allocation(step.scorer.allocation)[1]
        if isinstance(pattern, NM) and (isinstance(step, Gradual) or not isclose(step.sparsity, 1 - pattern.density)):
            raise UsageError(
                f"method {text!r}: {pattern.n}:{pattern.m} has sparsity {1 - pattern.density:g} and no other, "
                f"this would prune {'gradually' if isinstance(step, Gradual) else f'to {step.sparsity:g}'}; "
                f"prune once, as in 'magnitude/{pattern.n}:{pattern.m}@lrr(rate={1 - pattern.density:g})'"
            )
        if pattern and any(isinstance(phase, Shuffle) for phase in phases):
            raise UsageError(
                f"method {text!r}: shuffled masks have no pattern; shuffle without {step.scorer.allocation}"
            )
        _check_units(text, step, phases)
        if step.scorer.invert and (step.scorer.criterion in solver.entries or is_structured(step.scorer.criterion)):
            raise UsageError(
                f"method {text!r}: {step.scorer.criterion} cannot be inverted, only rankings of single weights"
            )


def _check_units(text: str, step: Prune | Gradual, phases: list[Phase]) -> None:
    name = step.scorer.criterion
    if not is_structured(name):
        return
    if isinstance(step, Gradual):
        raise UsageError(
            f"method {text!r}: {name} removes units between trainings, not while one runs; "
            f"use {name}@lrr or {name}@finetune"
        )
    if any(isinstance(phase, Rewind) and phase.to > 0 for phase in phases):
        raise UsageError(
            f"method {text!r}: {name} removes units, and a rewind point holds optimiser state of all of them; "
            "use rewind=0"
        )
    if any(isinstance(phase, Shuffle) for phase in phases):
        raise UsageError(
            f"method {text!r}: {name} removes units, there is no mask to shuffle; compare with random_filter"
        )


def check_moving(text: str, method: str) -> None:
    """Weights that move are counted in each tensor: by a rule, not in patterns or by another criterion."""
    rule, pattern = split_allocation(text)
    if pattern or rule == "row" or rule.startswith(LIKE):
        raise UsageError(
            f"method {method!r}: allocation={text!r} makes no sense where weights move freely within a tensor; "
            "take a rule, such as erk or uniform"
        )


def check_limits(entry: Entry, resolved: dict[str, Any], text: str) -> None:
    """Refuse values outside the limits that a criterion declares, its traits ``least`` and ``choices``."""
    for name, least in entry.traits.get("least", {}).items():
        if not (isinstance(resolved[name], int | float) and resolved[name] >= least):
            raise UsageError(f"method {text!r}: {name}={resolved[name]!r} of {entry.name} must be at least {least}")
    for name, choices in entry.traits.get("choices", {}).items():
        if resolved[name] not in choices:
            known = ", ".join(map(repr, choices))
            raise UsageError(f"method {text!r}: {name}={resolved[name]!r} of {entry.name} is not one of {known}")


def check_arguments(arguments: dict[str, Any], text: str) -> None:
    """Refuse values that no training can follow."""
    for name in ("rate", "rewind", "begin", "end", "alpha", "zeta", "extra"):
        value = arguments.get(name)
        if value is not None and not (isinstance(value, int | float) and 0 <= value <= 1):
            raise UsageError(f"method {text!r}: {name}={value!r} is a fraction and must be in [0, 1]")
    if arguments.get("rewind") == 1:
        raise UsageError(f"method {text!r}: rewind=1 is the end of training, nothing would be left to train; give less")
    if arguments.get("begin", 0) >= arguments.get("end", 1):
        raise UsageError(f"method {text!r}: begin must lie before end, so that there are steps to prune in")
    epochs = arguments.get("epochs")
    if epochs is not None and not (isinstance(epochs, int | float) and 0 < epochs < float("inf")):
        raise UsageError(f"method {text!r}: epochs={epochs!r} is a multiple of the task's epochs and must be positive")
    decay = arguments.get("decay")
    if decay is not None and not (isinstance(decay, int | float) and 0 <= decay < float("inf")):
        raise UsageError(f"method {text!r}: decay={decay!r} is a factor on weight decay and must not be negative")
    if arguments.get("match", "params") not in ("params", "flops"):
        raise UsageError(f"method {text!r}: match={arguments['match']!r} is not 'params' or 'flops'")
    recalibrate = arguments.get("recalibrate")
    if recalibrate is not None and not (isinstance(recalibrate, int) and recalibrate >= 2):
        raise UsageError(f"method {text!r}: recalibrate={recalibrate!r} counts training images and must be at least 2")
    every = arguments.get("every")
    if every is not None and not (isinstance(every, int) and every >= 1):
        raise UsageError(f"method {text!r}: every={every!r} counts optimiser steps and must be at least 1")
