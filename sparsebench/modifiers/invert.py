"""Invert: keep the weights with the lowest scores, a sanity control.

    score -> -score        under the same allocation

If accuracy stays, the order of the scores carries no information beyond the layer densities it leads to.
Source: Frankle et al. 2021, arXiv:2009.08576 (section 5).
"""

from __future__ import annotations

from dataclasses import replace

from sparsebench.errors import UsageError
from sparsebench.phases import Gradual, Phase, Prune, Train
from sparsebench.registry import modifier


@modifier
def invert(phases: list[Phase]) -> list[Phase]:
    inverted = [_inverted(phase) for phase in phases]
    if inverted == phases:
        raise UsageError("+invert: this regime ranks nothing by a criterion, so there is no score to invert")
    return inverted


def _inverted(phase: Phase) -> Phase:
    if isinstance(phase, Prune):
        return replace(phase, scorer=replace(phase.scorer, invert=True))
    if isinstance(phase, Train) and isinstance(phase.pruner, Gradual):
        return replace(phase, pruner=replace(phase.pruner, scorer=replace(phase.pruner.scorer, invert=True)))
    return phase
