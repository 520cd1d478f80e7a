"""Schedules: plans that can be read."""

from __future__ import annotations

import itertools

import pytest

from sparsebench.callbacks.schedules import NAMED, Cubic, Iterative, Linear, OneShot, named
from sparsebench.errors import UsageError


@pytest.mark.parametrize("schedule", [*NAMED.values()])
@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_every_schedule_ends_at_the_sparsity_asked_for_and_never_goes_back(schedule, steps):
    try:
        plan = schedule().plan(steps, 0.9)
    except UsageError:
        assert steps == 1
        return
    assert list(plan) == sorted(plan)
    assert list(plan.values()) == sorted(plan.values())
    assert all(0 <= step <= steps for step in plan)
    assert plan[max(plan)] == pytest.approx(0.9, abs=1e-15)


def test_linear_is_a_straight_line_and_cubic_starts_fast():
    linear = Linear(begin=0.0, end=1.0, every=25).plan(100, 0.8)
    assert linear == pytest.approx({25: 0.2, 50: 0.4, 75: 0.6, 100: 0.8})
    cubic = Cubic(begin=0.5, end=1.0, every=25).plan(100, 0.8)
    assert cubic == pytest.approx({75: 0.8 * 7 / 8, 100: 0.8})


def test_iterative_rounds_remove_the_same_share_of_what_is_left():
    plan = Iterative(rounds=4, end=1.0).plan(100, 0.9)
    left = [1.0, *(1 - s for s in plan.values())]
    assert [b / a for a, b in itertools.pairwise(left)] == pytest.approx([0.1**0.25] * 4)


def test_rounds_that_fall_on_one_step_are_one():
    assert Iterative(rounds=10, end=1.0).plan(2, 0.9)[2] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (OneShot(at=1.5), r"at=1\.5"),
        (Iterative(rounds=0), "rounds=0"),
        (Iterative(end=-1), "end=-1"),
        (Cubic(begin=0.5, end=0.5), "no room"),
        (Cubic(every=0), "every 0"),
    ],
)
def test_nonsense_is_refused(schedule, message):
    with pytest.raises(UsageError, match=message):
        schedule.plan(100, 0.9)


def test_by_name_or_as_given():
    assert named("cubic") == Cubic()
    mine = OneShot(0.3)
    assert named(mine) is mine
    with pytest.raises(UsageError, match="unknown schedule 'cubical'"):
        named("cubical")
