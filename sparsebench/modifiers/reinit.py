"""Reinit: train the final masks from new random weights, a sanity control.

    w = train(m * w_0')        m: the final masks; w_0': initial weights of another draw

A full training follows, also where the regime only fine-tunes. If accuracy stays, the method did not find
weights worth keeping. Source: Frankle & Carbin 2019, arXiv:1803.03635; Frankle et al. 2021, arXiv:2009.08576.
"""

from __future__ import annotations

from sparsebench.modifiers import last_prune
from sparsebench.phases import Phase, Reinit, Shuffle, Train
from sparsebench.registry import modifier


@modifier
def reinit(phases: list[Phase]) -> list[Phase]:
    index = last_prune(phases, "reinit")
    shuffles = [phase for phase in phases[index + 1 :] if isinstance(phase, Shuffle)]
    last = [phase for phase in phases[index + 1 :] if isinstance(phase, Train)][-1:] or [Train()]
    # What it learns from stays: a teacher, a part of the images.
    training = Train(distill=last[0].distill, unbalanced=last[0].unbalanced)
    return [*phases[: index + 1], *shuffles, Reinit(), training]
