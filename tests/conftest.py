"""What every test leaves as it found it.

One thread a test process: sums in another order round otherwise, and two cores are shared.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from sparsebench.registry import criterion, modifier, regime, solver

torch.set_num_threads(1)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for the whole suite, whose DDP tests start two more; none beside this one for a part of it."""
    return 2 if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


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
