"""Every example in a docstring runs; modules are imported under their installed names."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest


def modules() -> list[str]:
    import sparsebench.benchmarks
    import sparsebench.callbacks

    found = []
    for package in (sparsebench, sparsebench.callbacks, sparsebench.benchmarks):
        found += [m.name for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
    return sorted({name for name in found if not name.endswith("__main__")})


@pytest.mark.parametrize("name", modules())
def test_examples(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0
