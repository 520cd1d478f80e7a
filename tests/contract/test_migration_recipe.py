"""docs/from_sparseml.md: its schedule has the levels that a GMPruningModifier's interpolation has."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

import sparsebench
from sparsebench.callbacks import Cubic
from sparsebench.registry import criterion

PAGE = Path(sparsebench.__file__).parent.parent / "docs" / "from_sparseml.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="an installed package has no pages beside it")


@pytest.fixture
def recipe():
    """The page's class ``Recipe``."""
    text = re.search(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL).group(1)
    node = next(n for n in ast.parse(text).body if getattr(n, "name", "") == "Recipe")
    scope = {"dataclass": dataclass}
    exec(compile(ast.Module([node], []), str(PAGE), "exec"), scope)
    return scope["Recipe"]


def test_levels_are_interpolated_along_the_cubic(recipe):
    plan = recipe(init_sparsity=0.05, start=16, end=80, every=8).plan(128, 0.85)
    for step, level in plan.items():
        share = (step / 16 - 1.0) / (5.0 - 1.0)  # epochs from start_epoch 1 to end_epoch 5
        assert level == pytest.approx(0.05 + (0.85 - 0.05) * (1 - (1 - share) ** 3))
    assert (min(plan), max(plan), plan[80]) == (16, 80, 0.85)
    assert plan[16] == pytest.approx(0.05)


def test_from_zero_it_is_the_cubic_schedule(recipe):
    ours = Cubic(begin=1 / 8, end=5 / 8, every=8).plan(128, 0.85)
    theirs = recipe(init_sparsity=0.0, start=16, end=80, every=8).plan(128, 0.85)
    assert theirs == pytest.approx({16: 0.0, **ours})


def test_the_table_s_defaults_are_woodfisher_s():
    params = criterion.entry("woodfisher").params
    assert (params["gradients"], params["damp"], params["block"]) == (512, 1e-5, 256)
    assert "defaults here 512, 1e-5, 256" in PAGE.read_text(encoding="utf-8")
