"""Unbalanced: after the first pruning, train on a part of some classes' images.

    share kept of a class: 0.1, 0.2 or 0.5 for three groups of 5 % of the classes each, 1 for the others

What is dropped is a fixed draw, the same for every seed and method; test and validation images stay, so do the images
that criteria score on. An epoch is as long as what is kept. Profile ``published``: on CIFAR-100 the fifteen classes
that the paper names, elsewhere as many in proportion, drawn by hash; ``released``: the fifteen that its code takes
(``sparsebench.data.unbalanced``). Source: Blakeney et al. 2021, arXiv:2106.07849.
"""

from __future__ import annotations

from dataclasses import replace

from sparsebench.errors import unknown
from sparsebench.modifiers import trainings_after_pruning
from sparsebench.phases import Phase
from sparsebench.registry import modifier

PROFILES = ("published", "released")


@modifier
def unbalanced(phases: list[Phase], *, profile: str = "published") -> list[Phase]:
    if profile not in PROFILES:
        raise unknown("profile of +unbalanced", profile, PROFILES, ", ".join(PROFILES))
    after = trainings_after_pruning(phases, "unbalanced")
    return [replace(phase, unbalanced=profile) if index in after else phase for index, phase in enumerate(phases)]
