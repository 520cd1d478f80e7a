"""What the syntax tree says is what importing registers, for every kind."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

from sparsebench.allocation import allocation
from sparsebench.phases import Narrow, Prune, Recalibrate, Scorer, Train, describe
from sparsebench.protocol import canonical
from sparsebench.registry import criterion, dataset, modifier, network, regime, solver

KINDS = [criterion, solver, regime, modifier, network, dataset, allocation]
ENTRIES = [(registry, name) for registry in KINDS for name in registry.names()]


@pytest.mark.parametrize(("registry", "name"), ENTRIES, ids=[f"{r.kind}-{n}" for r, n in ENTRIES])
def test_the_index_equals_what_importing_registers(registry, name):
    entry, function = registry.entry(name), registry.get(name)
    importlib.import_module(entry.module)
    parameters = inspect.signature(function).parameters.values()
    assert {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY} == entry.params
    assert inspect.getsourcefile(function) == str(entry.path)
    assert entry.summary.strip()


def test_nothing_registers_that_is_not_in_the_index():
    code = """
import importlib, pkgutil, sparsebench
from sparsebench.registry import criterion, solver, regime, modifier, network, dataset
from sparsebench.allocation import allocation
for registry in (criterion, regime, modifier, network, dataset):
    package = importlib.import_module(registry.package)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{registry.package}.{module.name}")
for registry in (criterion, solver, regime, modifier, network, dataset, allocation):
    assert sorted(registry._live) == registry.names(), registry.kind
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", regime.names())
@pytest.mark.parametrize("sparsity", [0.5, 0.98])
def test_every_regime_is_a_list_of_phases_that_trains_last_and_ends_at_its_sparsity(name, sparsity):
    own = regime.entry(name).traits.get("criterion") == "none"
    phases = list(regime.get(name)(None if own else Scorer("magnitude"), sparsity))
    assert isinstance(phases[-1], Recalibrate if name == "oneshot" else Train)
    canonical([describe(phase) for phase in phases])
    reached = [p.sparsity for p in phases if isinstance(p, Prune | Narrow)]
    reached += [p.pruner.sparsity for p in phases if isinstance(p, Train) and p.pruner]
    assert reached == sorted(reached)
    assert name == "dense" or reached[-1] == sparsity
