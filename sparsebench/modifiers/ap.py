"""AP: spend a part of each pruning on weights whose removal activates units (activate-while-pruning).

    of each cycle's pruning, round(q * alive) weights:  alive, w < 0, smallest |w - w_start|, all tensors together

The criterion prunes first, by as much less, so that a cycle removes what it would without AP. ``alive`` and ``w_start``
are those at the start of the training that has just ended (after its rewinding). If there are too few negative weights
the criterion removes the rest; AP never takes more than half of a pruning, nor a tensor's last weights where the
criterion leaves them (its ``floor``). It is meant for small cycles: in one shot to a high sparsity, q is a large part
of what is left. Under ``gmp`` and ``ramp`` it acts at every update, ``w_start`` being the weights after the one before.

Under ``init`` the criterion prunes to ``1 - (1 - s) / (1 - q)``, the network is trained, AP prunes to s, the initial
weights come back and are trained again: twice the training of the method alone.

Controls: ``sign='positive'`` (the mirror, which silences units), ``sign='both'`` (movement alone), the same with
``score='random'``, and ``score='magnitude'``. Score and order are those of the released code; ``init``, gradual
pruning, the half and the floor are ours. Source: Liu et al. 2022, arXiv:2212.06145.
"""

from __future__ import annotations

from dataclasses import replace

from sparsebench.allocation import split_allocation
from sparsebench.criteria import is_structured
from sparsebench.errors import UsageError
from sparsebench.phases import Activating, Gradual, Phase, Prune, Reinit, Rewind, Shuffle, Train
from sparsebench.registry import criterion, modifier, solver

SIGNS = ("negative", "positive", "both")
SCORES = ("movement", "random", "magnitude")


@modifier
def ap(phases: list[Phase], *, q: float = 0.02, sign: str = "negative", score: str = "movement") -> list[Phase]:
    part = Activating(_share(q), _one_of("sign", sign, SIGNS), _one_of("score", score, SCORES))
    if any(isinstance(phase, Shuffle | Reinit) for phase in phases):
        raise UsageError(
            "+ap: it chooses among the weights that were trained under the method's own masks; "
            "write it before +shuffle and +reinit"
        )
    trained = next((place for place, phase in enumerate(phases) if isinstance(phase, Train)), len(phases))
    changed = [_with(part, phase) if place >= trained else phase for place, phase in enumerate(phases)]
    if changed == phases:
        changed = _pruned_before_training(part, phases)
    for phase in changed:
        _check(phase)
    return changed


def _with(part: Activating, phase: Phase) -> Phase:
    if isinstance(phase, Prune):
        return replace(phase, ap=part)
    if isinstance(phase, Train) and isinstance(phase.pruner, Gradual):
        return replace(phase, pruner=replace(phase.pruner, ap=part))
    return phase


def _pruned_before_training(part: Activating, phases: list[Phase]) -> list[Phase]:
    """Weights have not moved yet: prune to a little less, train, let AP do the rest, go back, train."""
    place = next((place for place in reversed(range(len(phases))) if isinstance(phases[place], Prune)), None)
    if place is None:
        raise UsageError(
            "+ap: this regime prunes nothing by a criterion, and AP does not rate importance: it works beside one"
        )
    prune, after = phases[place], phases[place + 1 :]
    first = replace(prune, sparsity=1 - min(1.0, (1 - prune.sparsity) / (1 - part.q)))
    second = replace(prune, ap=replace(part, whole=True))
    return [*phases[:place], first, *after, second, Rewind(), *after]


def _check(phase: Phase) -> None:
    """Criteria beside which AP has no meaning."""
    step = phase.pruner if isinstance(phase, Train) else phase
    if not isinstance(step, Prune | Gradual):
        return
    name, allocation = step.scorer.criterion, step.scorer.allocation
    if is_structured(name):
        raise UsageError(f"+ap: {name} removes whole units, AP single weights")
    if name in solver.entries:
        raise UsageError(
            f"+ap: {name} changes the weights it keeps, so how far training moved them is no longer to see"
        )
    if isinstance(step, Gradual) and criterion.entry(name).traits.get("accumulates"):
        raise UsageError(f"+ap: {name} lets pruned weights return, and so would those that AP removed")
    if split_allocation(allocation)[1]:
        raise UsageError(f"+ap: {allocation} keeps weights in a pattern, which removing single ones would break")


def _share(q: float) -> float:
    if not isinstance(q, int | float) or not 0 < q < 1:
        raise UsageError(
            f"+ap: q={q!r} is the share of the weights alive that AP removes, above 0 and below 1; "
            "without AP write no +ap"
        )
    return float(q)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise UsageError(f"+ap: {name}={value!r} is none of {', '.join(map(repr, known))}")
    return value
