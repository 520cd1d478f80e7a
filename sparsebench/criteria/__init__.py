"""Criteria: pure functions that score weights; larger = keep. One file each, found by their decorator.

``needs`` says what a criterion is given:

| needs | signature |
| --- | --- |
| ``weight`` | ``f(weight) -> score`` for each tensor |
| ``random`` | ``f(weight, generator) -> score`` for each tensor |
| ``gradient`` | ``f(weight, grad) -> score``, the gradient averaged over examples and ranks |
| ``model`` | ``f(model, params, batches, loss) -> {name: score}`` for the whole network |

Further traits: ``mode`` (train / eval while scoring), ``per_class`` or ``examples`` (how much of the training
split a benchmark run hands over), ``rounds`` (the mask is tightened geometrically over that many scorings),
``floor`` (weights kept in every tensor whatever their score), ``within_layer_order`` (a criterion that ranks as this
one inside a layer, so that a per-layer allocation would make the two the same), ``allocation`` (the default one),
``allocations`` (the only ones that make sense), ``structure="units"`` (scores filters, neurons and heads, which are
then removed physically; see ``sparsebench/structured``), ``accumulates`` (scores add up over training steps),
``second_order``, ``moves_weights`` (its solver changes what it keeps), ``batch`` (size of a mini-batch, where scores
depend on it), ``dtype``, ``paper``.

A criterion that chooses masks layer after layer, or changes the weights it keeps, has a ``@solver`` of the same name
beside it: ``f(model, params, batches, loss, budget) -> (masks, weights)``. Its scores are those of the dense network.
One that chooses units by looking at sub-networks has one too: ``f(budget) -> Searched``, see ``structured/search.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sparsebench.allocation import LIKE, split_allocation
from sparsebench.errors import UsageError
from sparsebench.patterns import NM, Block
from sparsebench.registry import Entry, criterion, regime, solver


def split_method(method: str, arguments: Iterable[str] = ()) -> tuple[str, str]:
    """``"snip"`` or ``"magnitude/erk"`` as (criterion, allocation), both known and sensible together.

    Raises:
        UsageError: an unknown name or argument, or an allocation that makes no sense with the criterion.

    >>> split_method("magnitude/erk"), split_method("snip"), split_method("magnitude/uniform/block4x4")
    (('magnitude', 'erk'), ('snip', 'global'), ('magnitude', 'uniform/block4x4'))
    """
    name, _, allocation = method.partition("/")
    if "@" in method or (name in regime.entries and name not in criterion.entries):
        raise UsageError(
            f"{method!r} is a method with a training in it: use the callbacks in a Trainer, or 'sparsebench run'; "
            "here goes a criterion with its allocation, such as 'magnitude/erk'"
        )
    entry = criterion.entry(name)
    allocation = allocation or default_allocation(name)
    rule, pattern = split_allocation(allocation)
    _check_within_layer_order(name, allocation, entry.traits.get("within_layer_order"))
    if rule.startswith(LIKE):
        _check_like(name, rule.removeprefix(LIKE))
        _check_rounds(name)
    allowed = entry.traits.get("allocations")
    kind = {NM: "N:M", Block: "block"}.get(type(pattern), rule)
    if allowed and kind not in allowed and allocation not in allowed:
        raise UsageError(f"{name}/{allocation}: {name} goes with {', '.join(allowed)} only; write {name}/{allowed[0]}")
    for argument in arguments:
        if argument not in entry.params:
            known = ", ".join(entry.params) or "none"
            raise UsageError(f"criterion {name!r} has no argument {argument!r} (its arguments: {known})")
    if isinstance(arguments, Mapping):
        check_types(entry, arguments)
    return name, allocation


def check_types(entry: Entry, arguments: Mapping[str, Any]) -> None:
    """Numbers where the default is one.

    Raises:
        UsageError: something else.
    """
    for argument, value in arguments.items():
        default = entry.params.get(argument)
        numeric = isinstance(default, int | float) and not isinstance(default, bool)
        if numeric and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UsageError(f"{entry.kind_name}: {argument}={value!r} is not a number (default {default!r})")


def default_allocation(name: str) -> str:
    """The allocation a criterion goes with when none is written."""
    return criterion.entry(name).traits.get("allocation", "global")


def is_structured(name: str) -> bool:
    """Whether a criterion scores units (filters, neurons, heads) and not single weights."""
    return "structure" in criterion.entry(name).traits


def _check_rounds(name: str) -> None:
    if criterion.entry(name).traits.get("rounds", 1) > 1:
        raise UsageError(
            f"{name}/{LIKE}...: {name} prunes in rounds, and the counts of another criterion are those of the last; "
            f"take random/{LIKE}..."
        )


def looks_at_data(name: str, allocation: str = "global") -> bool:
    """Whether a criterion, or the one whose layer counts it takes, is given batches."""
    if allocation.startswith(LIKE) and looks_at_data(allocation.removeprefix(LIKE)):
        return True
    traits = criterion.entry(name).traits
    return "structure" in traits or traits.get("needs") in ("gradient", "model")


def _check_within_layer_order(name: str, allocation: str, same: str | None) -> None:
    if same and allocation != "global" and "block" not in allocation:
        raise UsageError(
            f"{name}/{allocation}: within a layer {name} ranks weights as {same} does, "
            f"so this would be {same}/{allocation}; write that"
        )


def _check_like(name: str, other: str) -> None:
    """The counts of another criterion: one that ranks single weights of the network as it stands."""
    if criterion.entry(other).name == name or is_structured(other) or other in solver.entries or is_structured(name):
        raise UsageError(
            f"{name}/{LIKE}{other}: {LIKE} takes the layer counts of another criterion that ranks single weights "
            "of the whole network, such as random/like:snip"
        )
