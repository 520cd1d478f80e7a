"""Recipe: learning-rate factors by eye, nonsense refused."""

from __future__ import annotations

import pytest

from sparsebench.errors import UsageError
from sparsebench.recipe import Recipe


def factors(points, **settings):
    recipe = Recipe(epochs=10, rate=0.1, **settings)
    return [recipe.factor(t) for t in points]


def test_cosine_step_and_constant():
    assert factors([0.0, 0.5, 1.0]) == pytest.approx([1.0, 0.5, 0.0])
    step = {"schedule": "step", "milestones": (0.5, 0.75), "gamma": 0.1}
    assert factors([0.0, 0.49, 0.5, 0.8], **step) == pytest.approx([1.0, 1.0, 0.1, 0.01])
    assert factors([0.0, 1.0], schedule="constant") == [1.0, 1.0]


def test_warm_up_rises_linearly_and_meets_the_schedule():
    assert factors([0.0, 0.1, 0.2], warmup=0.2) == pytest.approx([0.0, 0.5, 1.0])
    assert factors([0.6, 1.0, 1.2], warmup=0.2) == pytest.approx([0.5, 0.0, 0.0])


@pytest.mark.parametrize(
    "wrong",
    [{"optimizer": "sdg"}, {"schedule": "cosin"}, {"epochs": 0}, {"rate": -1.0}, {"global_batch": 0}, {"mask_every": 0},
     {"warmup": 1.0}, {"validate_every": -1}, {"validate_every": 0.5}, {"compile": "fast"}, {"precision": "16"}],
)  # fmt: skip
def test_nonsense_is_refused_by_name(wrong):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))}="):
        Recipe(**{"epochs": 10, "rate": 0.1, **wrong})


def test_a_rate_that_yaml_read_as_text_is_named():
    with pytest.raises(UsageError, match=r"rate='1e-3' is not a number"):
        Recipe(epochs=1, rate="1e-3")
