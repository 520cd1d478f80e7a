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
one inside a layer, so that a per-layer allocation would make the two the same), ``paper``.
"""

from __future__ import annotations

from collections.abc import Iterable

from sparsebench.allocation import allocation
from sparsebench.errors import UsageError
from sparsebench.registry import criterion


def split_method(method: str, arguments: Iterable[str] = ()) -> tuple[str, str]:
    """``"snip"`` or ``"magnitude/erk"`` as (criterion, allocation), both known and sensible together.

    Raises:
        UsageError: an unknown name or argument, or an allocation that makes the criterion another one.

    >>> split_method("magnitude/erk"), split_method("snip")
    (('magnitude', 'erk'), ('snip', 'global'))
    """
    name, _, rule = method.partition("/")
    entry = criterion.entry(name)
    rule = rule or "global"
    allocation.entry(rule)
    same = entry.traits.get("within_layer_order")
    if same and rule != "global":
        raise UsageError(
            f"{name}/{rule}: within a layer {name} ranks weights as {same} does, "
            f"so this would be {same}/{rule}; write that"
        )
    for argument in arguments:
        if argument not in entry.params:
            known = ", ".join(entry.params) or "none"
            raise UsageError(f"criterion {name!r} has no argument {argument!r} (its arguments: {known})")
    return name, rule
