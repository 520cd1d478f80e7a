"""What every test leaves as it found it.

One thread a test process: sums in another order round otherwise, and two cores are shared.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from sparsebench.registry import criterion, modifier, regime, solver

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def registries_forget() -> Iterator[None]:
    """What a test reads from a file of its own is unknown to the next one, which may use the names again."""
    registries = (criterion, solver, regime, modifier)
    before = [dict(registry._added) for registry in registries]
    yield
    for registry, entries in zip(registries, before, strict=True):
        for name in registry._added.keys() - entries.keys():
            registry._live.pop(name, None)
        registry._added = entries
