"""Templates: the files that ``sparsebench new`` writes, one method and one test for each kind.

Each runs as it is, passes ``sparsebench check`` and tells its reader what to change. NAME is the method's.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Template:
    """What is written for one kind of method."""

    summary: str
    method: str
    test: str
    """The tests that are special to the kind; ``HEAD`` and ``CHECKED`` go around them."""


HEAD = '''"""Tests of NAME.py: run them with ``pytest test_NAME.py``."""

from __future__ import annotations

from pathlib import Path

'''
CHECKED = '''

def test_keeps_the_rules_of_the_suite():
    """The same as ``sparsebench check NAME.py``: exact counts, nothing left changed, deterministic and more."""
    report = check(Path(__file__).with_name("NAME.py"))
    assert report.passed, report.failures
'''

CRITERION = '''"""NAME: one sentence that says what is kept and why.

    score = |w| * fan_in^power

A criterion scores weights, and the larger a score, the longer its weight stays. It knows nothing of sparsity,
schedules or training: how many weights are kept is asked for by the board and met exactly, whatever the scores are.
Try it:

    sparsebench check NAME.py
    sparsebench run quick --methods NAME.py --tasks digits-mlp --seeds 0
"""

from __future__ import annotations

from torch import Tensor

from sparsebench import criterion

# Traits stand in the decorator as literals, since the file is read before it is imported.
#   needs="weight"    f(weight)                         called for each weight tensor, as here
#   needs="gradient"  f(weight, grad)                   the gradient of the mean loss; say examples=2048 or per_class=10
#   needs="random"    f(weight, generator)              draw from the generator, so that a seed gives the same scores
#   needs="model"     f(model, params, batches, loss)   once for the whole network, returns {name: score}
#   floor=1           one weight is kept in every tensor, so that none is emptied
#   mode="train"      scored in training mode           rounds=100   scored and pruned so many times
# All of them: docs/adding_a_method.md


@criterion(needs="weight", floor=1)
def NAME(weight: Tensor, *, power: float = 0.5) -> Tensor:
    """Magnitude in units of what the tensor's weights had at initialisation.

    Gets a weight tensor, [out, in] or [out, in, height, width], and must not change it. Returns a score of the same
    shape, finite, larger = keep. Keyword-only arguments with literal defaults can be set in a method string:
    ``NAME(power=0.0)@imp``.

    >>> from torch import tensor
    >>> NAME(tensor([[1.0, -3.0]]), power=1.0)
    tensor([[2., 6.]])
    """
    fan_in = weight[0].numel()
    return weight.abs() * fan_in**power


# Without more the method is NAME@finetune. To run it otherwise, name the methods of this file:
# METHODS = ["NAME@finetune", "NAME/erk@init", "NAME(power=0.0)@imp"]
'''

CRITERION_TEST = """import torch
from NAME import NAME

from sparsebench.submission import check


def test_four_numbers():
    score = NAME(torch.tensor([[0.1, -0.2], [0.3, 0.0]]), power=0.0)
    torch.testing.assert_close(score, torch.tensor([[0.1, 0.2], [0.3, 0.0]]))


def test_larger_is_kept():
    score = NAME(torch.tensor([[1.0, -2.0, 0.5]]))
    assert score.argmax() == 1
    assert score.argmin() == 2
"""

UNITS = '''"""NAME: one sentence that says which filters, neurons and heads are kept and why.

    score of a unit = the largest |w| among the weights that compute it

A criterion for units scores filters, neurons and attention heads; the others are taken out of the network, which
is then smaller. Try it:

    sparsebench check NAME.py
    sparsebench run quick --methods NAME.py --tasks digits-mlp --seeds 0
"""

from __future__ import annotations

from torch import Tensor

from sparsebench import criterion

#   needs="weight"    f(rows)              one row a unit, the weights that compute it, as here
#   needs="gradient"  f(rows, gradients)   of one mini-batch, summed over them
#   needs="random"    f(rows, generator)
#   needs="norm"      f(gamma)             the scale of the batch norm behind the unit
#   per_layer=True    under one global ranking a score is divided by its layer's mean
# All traits: docs/adding_a_method.md


@criterion(structure="units", needs="weight", allocation="uniform", allocations=("uniform", "global"), per_layer=True)
def NAME(rows: Tensor) -> Tensor:
    """The largest absolute weight of each unit.

    Gets rows, [units, weights], and must not change them. Returns one score a unit, finite, larger = keep.

    >>> from torch import tensor
    >>> NAME(tensor([[1.0, -3.0], [2.0, 0.0]]))
    tensor([3., 2.])
    """
    return rows.abs().amax(dim=1)
'''

UNITS_TEST = """import torch
from NAME import NAME

from sparsebench.submission import check


def test_four_numbers():
    rows = torch.tensor([[0.1, -0.4], [0.3, 0.2]])
    assert NAME(rows).tolist() == [rows[0, 1].abs().item(), rows[1, 0].item()]
"""

SOLVER = '''"""NAME: one sentence that says which weights are kept, and how they are changed.

A solver is a criterion that also changes the weights it keeps, or chooses its masks layer after layer. It is given a
budget in place of a sparsity: how many weights stay is settled before. Try it:

    sparsebench check NAME.py
    sparsebench run quick --methods NAME.py --tasks digits-mlp --seeds 0
"""

from __future__ import annotations

from sparsebench import criterion, solver

METHODS = ["NAME@oneshot"]


@criterion(needs="model", examples=64, moves_weights=True)
def NAME(model, params, batches, loss):
    """Magnitude: the scores by which the solver below chooses.

    Gets the network, its prunable weights by name, batches of (inputs, labels) and the loss, and changes none of
    them. Returns one score a weight: {name: tensor of the weight's shape}, larger = keep.
    """
    return {name: weight.detach().abs() for name, weight in params.items()}


@solver(name="NAME")
def solve(model, params, batches, loss, budget):
    """The largest weights, scaled so that each tensor keeps its norm.

    Returns masks of exactly the budget's size (``budget.select`` makes them from scores) and new values of the weights.
    """
    masks = budget.select(NAME(model, params, batches, loss))
    weights = {}
    for name, weight in params.items():
        kept = weight.detach() * masks[name]
        weights[name] = kept * weight.detach().norm() / kept.norm().clamp_min(1e-12)
    return masks, weights
'''

SOLVER_TEST = """import torch
from torch import nn

import sparsebench
from sparsebench.methods import register
from sparsebench.submission import check


def test_each_tensor_keeps_its_norm():
    register(str(Path(__file__).with_name("NAME.py")))
    torch.manual_seed(0)
    net, data = nn.Linear(8, 4), [(torch.randn(3, 8), torch.tensor([0, 1, 2]))]
    before = net.weight.detach().norm()
    masks = sparsebench.prune(net, "NAME", sparsity=0.75, data=data)
    assert masks.kept == 8
    torch.testing.assert_close(net.weight.detach().norm(), before)
"""

REGIME = '''"""NAME: one sentence that says when pruning happens and what follows.

A regime is a list of phases; caching, resuming, counting and auditing are the suite's. Try it:

    sparsebench check NAME.py
    sparsebench run quick --methods NAME.py --tasks digits-mlp --seeds 0
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsebench import regime
from sparsebench.phases import Phase, Prune, Scorer, Train

METHODS = ["magnitude@NAME", "random/erk@NAME(share=0.25)"]

#   Train(epochs=1.0, rate=None)   trains for a multiple of the task's epochs; rate holds a share of the peak rate
#   Prune(sparsity, scorer)        masks down by the scores of the present network
#   Rewind(to=0.0)                 restores the state after this share of the dense training
#   @regime(criterion="none")      a regime with a rule of its own: its scorer is None
#   @regime(single_round=True)     refused for criteria that prune in rounds of their own
# All of them: docs/adding_a_method.md


@regime
def NAME(scorer: Scorer, sparsity: float, *, share: float = 0.5) -> Iterator[Phase]:
    """Train for a share of the epochs, prune in one shot, train in full.

    Gets the criterion with its allocation, and the sparsity asked for. Yields phases; the last pruning must end exactly
    at that sparsity, and something must train after it.

    >>> [type(phase).__name__ for phase in NAME(None, 0.9)]
    ['Train', 'Prune', 'Train']
    """
    yield Train(epochs=share)
    yield Prune(sparsity, scorer)
    yield Train()
'''

REGIME_TEST = """from NAME import NAME

from sparsebench.phases import Prune, Scorer, Train
from sparsebench.submission import check


def test_its_phases():
    scorer = Scorer("magnitude")
    assert list(NAME(scorer, 0.9, share=0.25)) == [Train(epochs=0.25), Prune(0.9, scorer), Train()]
"""

MODIFIER = '''"""NAME: one sentence that says what is changed of a regime.

A modifier changes the phases of any regime and is written behind it: ``magnitude@finetune+NAME``. Try it:

    sparsebench check NAME.py
    sparsebench run quick --methods NAME.py --tasks digits-mlp --seeds 0
"""

from __future__ import annotations

from dataclasses import replace

from sparsebench import modifier
from sparsebench.errors import UsageError
from sparsebench.phases import Phase, Train

METHODS = ["magnitude@finetune+NAME", "magnitude@finetune+NAME(factor=4.0)"]


@modifier
def NAME(phases: list[Phase], *, factor: float = 2.0) -> list[Phase]:
    """Train longer after the last pruning.

    Gets the phases of a regime and returns new ones, that end at the same sparsity. A regime that it makes no sense for
    is refused by a UsageError that says why.

    >>> NAME([Train(), Train(epochs=0.5)])[-1].epochs
    1.0
    """
    *before, last = phases
    if not isinstance(last, Train):
        raise UsageError("+NAME: this regime does not end with a training")
    return [*before, replace(last, epochs=factor * last.epochs)]
'''

MODIFIER_TEST = """from NAME import NAME

from sparsebench.methods import parse
from sparsebench.phases import Train
from sparsebench.submission import check


def test_it_changes_the_last_training_alone():
    phases = parse("magnitude@finetune").phases(0.9)
    changed = NAME(phases, factor=3.0)
    assert changed[:-1] == phases[:-1]
    assert isinstance(changed[-1], Train)
    assert changed[-1].epochs == 3.0 * phases[-1].epochs
"""

TEMPLATES = {
    "criterion": Template("scores single weights", CRITERION, CRITERION_TEST),
    "units": Template("scores filters, neurons and heads", UNITS, UNITS_TEST),
    "solver": Template("chooses masks and changes the weights it keeps", SOLVER, SOLVER_TEST),
    "regime": Template("says when pruning happens", REGIME, REGIME_TEST),
    "modifier": Template("changes the phases of regimes", MODIFIER, MODIFIER_TEST),
}
