"""The contract: what ships keeps it, and every rule is broken by a method that breaks nothing else."""

from __future__ import annotations

import pytest

from sparsebench.errors import UsageError
from sparsebench.registry import criterion, modifier, regime
from sparsebench.submission import check, phase_rules, score_rules
from sparsebench.submission.rule import Report
from sparsebench.submission.score_rules import Scored

SCORE = '''"""Scores."""
import torch
from sparsebench import criterion, select, solver


@criterion({traits})
def bad_method({arguments}):
    """What it keeps."""
{body}
'''
SOLVER = """

@solver(name="bad_method")
def solve(model, params, batches, loss, budget):
    scores = {n: -w.detach().abs() for n, w in params.items()}
"""
MODEL = "model, params, batches, loss"
MAGNITUDES = "    return {n: w.detach().abs() for n, w in params.items()}"
REGIME = '''"""When."""
from sparsebench import regime
from sparsebench.phases import Prune, Train
METHODS = ["magnitude@bad_method"]


@regime
def bad_method(scorer, sparsity):
    """When."""
'''
MODIFIER = '''"""What."""
from dataclasses import replace
from sparsebench import modifier
from sparsebench.phases import Prune
METHODS = ["magnitude@finetune+bad_method"]


@modifier
def bad_method(phases):
    """What."""
'''


def scored(body: str, traits: str = 'needs="weight"', arguments: str = "weight") -> str:
    return SCORE.format(body=body, traits=traits, arguments=arguments)


def solved(body: str) -> str:
    return scored(MAGNITUDES, 'needs="model", moves_weights=True', MODEL) + SOLVER + body


GRADIENTS = """    from sparsebench.scoring import mean_gradients
    grads = mean_gradients(model, params, batches[:1], loss)
    return {n: (params[n] * g).detach().abs() for n, g in grads.items()}"""
ALONE = """    total, n = {}, sum(len(y) for _, y in batches)
    for batch in batches:
        grads = torch.autograd.grad(loss(model, batch), list(params.values()))
        for (name, w), g in zip(params.items(), grads):
            total[name] = total.get(name, 0) + g * len(batch[1]) / n
    return {name: (params[name] * g).detach().abs() for name, g in total.items()}"""
BAD = {
    "file": "def bad_method(:\n",
    "literals": "FLOOR = 1\n" + scored("    return weight.abs()", 'needs="weight", floor=FLOOR'),
    "names": scored("    return weight.abs()").replace("bad_method", "magnitude"),
    "docstrings": scored("    return weight.abs()")
    .replace('"""Scores."""', "")
    .replace('    """What it keeps."""\n', ""),
    "traits": scored("    return weight.abs()", 'needs="weight", exampels=64'),
    "imports": "import no_such_module\n" + scored("    return weight.abs()"),
    "methods": 'METHODS = ["bad_method@nowhen"]\n' + scored("    return weight.abs()"),
    "examples": scored("    return weight.abs()").replace("What it keeps.", "What.\n\n    >>> 1 + 1\n    3\n    "),
    "runs": scored("    return weight.abs() / (0 // (weight.dim() - 4))"),
    "shape": scored("    return weight.abs().flatten()"),
    "finite": scored("    return weight.abs() / weight.std()"),
    "deterministic": scored("    return weight.abs() + 1e-6 * torch.rand_like(weight)"),
    "untouched": scored("    return weight.abs_()"),
    "counts": solved("    return select(scores, min(1.0, 1.5 * budget.density)), {}\n"),
    "nested": solved("    return select(scores, budget.density), {}\n"),
    "double": scored("    return weight.abs() * (torch.ones(1, weight.numel()) @ weight.flatten()).abs()"),
    "batching": scored(GRADIENTS, 'needs="model", examples=64', MODEL),
    "ranks": scored(ALONE, 'needs="model", examples=64', MODEL),
    "larger": scored("    return -weight.abs()"),
    "phases": REGIME + '    yield "train"\n    yield Train()\n',
    "ends": REGIME + "    yield Prune(sparsity / 2, scorer)\n    yield Train()\n",
    "trains": REGIME + "    yield Train()\n    yield Prune(sparsity, scorer)\n",
    "phases ": MODIFIER + '    return [*phases, "and again"]\n',
    "ends ": MODIFIER + "    return [replace(p, sparsity=0.1) if isinstance(p, Prune) else p for p in phases]\n",
}


@pytest.fixture
def write(tmp_path):
    def write(text: str):
        path = tmp_path / "bad_method.py"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("broken", BAD)
def test_a_method_that_breaks_one_rule_fails_it_alone(broken, write):
    report = check(write(BAD[broken]), cells=False)
    assert [verdict.rule for verdict in report.failures] == [broken.strip()]
    (verdict,) = report.failures
    assert verdict.faults
    assert verdict.remedy


def test_all_that_fails_is_told_and_what_cannot_be_looked_at_is_named(write):
    text = scored("    return -weight.abs_().float() / weight.std()", 'needs="weight", exampels=64')
    report = check(write(text), cells=False)
    assert [verdict.rule for verdict in report.failures] == ["traits", "finite", "untouched"]
    states = {verdict.rule: verdict.state for verdict in report.verdicts}
    assert {rule for rule, state in states.items() if state == "skipped"} == {"counts", "nested", "larger"}
    assert states["ranks"] == states["batching"] == "n/a"


def test_a_cell_that_fails_is_told(write):
    text = scored("    if weight.shape[0] == 12:\n        raise ValueError('twelve')\n    return weight.abs()")
    report = check(write(text))
    assert [(verdict.rule, verdict.faults) for verdict in report.failures] == [("cell", ("ValueError: twelve",))]


def test_slow_and_large_methods_are_refused(write, monkeypatch):
    criterion.add_file(write(scored("    import time\n    time.sleep(0.02)\n    return weight.abs()")))
    monkeypatch.setattr(score_rules, "SECONDS", 0.1)
    monkeypatch.setattr(score_rules, "TIMES", 10)
    monkeypatch.setattr(score_rules, "BYTES", 100)
    assert ["times as long as magnitude" in fault for fault in score_rules.cost(Scored("bad_method"))] == [True]


def test_large_methods_are_refused(write, monkeypatch):
    body = "    flat = weight.flatten()\n    return (flat[:, None] * flat).abs().amax(1).view_as(weight)"
    criterion.add_file(write(scored(body)))
    monkeypatch.setattr(score_rules, "BYTES", 100)
    assert ["times their own size" in fault for fault in score_rules.cost(Scored("bad_method"))] == [True]
    assert not list(score_rules.cost(Scored("magnitude")))


KINDS = [(regime, phase_rules.REGIME_RULES), (modifier, phase_rules.MODIFIER_RULES)]
LISTED = [(name, rules) for registry, rules in KINDS for name in registry.names() if name != "dense"]


@pytest.mark.parametrize(("name", "rules"), LISTED, ids=[name for name, _ in LISTED])
def test_every_regime_and_modifier_that_ships_keeps_the_rules(name, rules):
    report = Report(name)
    report.look(rules, phase_rules.Listed(name), name)
    assert report.passed, [(verdict.rule, verdict.faults) for verdict in report.failures]


@pytest.mark.parametrize(("file", "why"), [("gone.py", "is not a file"), ("notes.txt", "is not a Python file")])
def test_what_is_no_python_file_is_refused(file, why, tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UsageError, match=why):
        check(tmp_path / file)
