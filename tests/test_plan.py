"""Plan: what is equal runs once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sparsebench.errors import UsageError
from sparsebench.grid import board as boards
from sparsebench.grid.cell import Cell
from sparsebench.grid.plan import plan
from sparsebench.methods import parse
from sparsebench.phases import Train
from sparsebench.tasks import task


def cell(method: str, sparsity: float = 0.9, seed: int = 0) -> Cell:
    return Cell(task("digits-mlp"), parse(method), sparsity, seed)


def planned(*cells: Cell):
    return plan([cell("dense", 0.0), *cells])


def test_the_quick_board_shares_its_trainings():
    """By hand, for one task and seed: 1 dense; 3 sparsities x (random, snip, synflow, gmp, rigl) = 15;
    2 x 3 fine-tunings; ladders 50, 75, 87.5, 93.75, 96.875, 98 % of six rungs each for imp and lrr."""
    quick = boards.load("quick")
    whole = plan(quick.cells)
    groups = len(quick.tasks) * len(quick.seeds)
    assert len(whole.cells) == groups * (1 + 9 * 3)
    assert whole.trainings == groups * (1 + 15 + 6 + 6 + 6)
    assert len(whole.stages) == whole.trainings
    # Apart: dense 1, one each for 15, two each for 6, and 1 + 2, 1 + 4, 1 + 6 for each of the two ladders.
    assert whole.trainings_unshared == groups * (1 + 15 + 12 + 2 * 15)


def test_all_methods_that_train_first_share_the_dense_trunk():
    whole = planned(*(cell(m) for m in ("magnitude", "lamp", "gradient", "magnitude@imp", "lamp@lrr")))
    assert len({chain[0] for chain in whole.chains.values()}) == 1
    other = plan([cell("dense", 0.0, seed=1), cell("magnitude", seed=1)])
    assert not set(other.stages) & set(whole.stages)


def test_levels_of_an_iterative_method_share_one_trajectory():
    low, high = cell("magnitude@imp(rate=0.5)", 0.75), cell("magnitude@imp(rate=0.5)", 0.9375)
    whole = planned(low, high)
    assert whole.chains[high.id][:3] == whole.chains[low.id]
    assert whole.trainings == 1 + 4


def test_stages_that_do_the_same_after_different_pasts_are_two():
    """Both end with: prune to 75 %, rewind, train; one was at 50 % before."""
    slow, fast = cell("magnitude@imp(rate=0.5)", 0.75), cell("magnitude@imp(rate=0.75)", 0.75)
    whole = planned(slow, fast)
    last = [whole.stages[whole.chains[c.id][-1]] for c in (slow, fast)]
    assert last[0].phases == last[1].phases
    assert last[0].id != last[1].id
    assert whole.trainings == 1 + 2 + 1


@pytest.mark.parametrize(("epochs", "share"), [(1, 0.5), (10, 0.96)])
def test_a_rewind_point_that_rounds_to_the_end_is_refused(epochs, share):
    short = replace(task("digits-mlp"), recipe=replace(task("digits-mlp").recipe, epochs=epochs))
    cells = [Cell(short, parse(method), 0.5, 0) for method in ("dense", f"magnitude@imp(rewind={share})")]
    with pytest.raises(UsageError, match=f"a rewind point at {share} of {epochs} epoch.*nothing would be left"):
        plan(cells)


def test_a_rewind_point_is_a_stage_of_its_own_and_shared():
    whole = planned(cell("magnitude@imp(rate=0.5,rewind=0.1)", 0.75), cell("lamp@imp(rate=0.5,rewind=0.1)", 0.75))
    points = {s.rewind_point for s in whole.stages.values() if s.rewind_point}
    assert len(points) == 1
    point = whole.stages[points.pop()]
    assert point.phases == (Train(until=0.1),)
    assert point.parent is None
    assert point.keeps_optimizer
    assert all(point.id not in chain for chain in whole.chains.values())
    assert not any(s.rewind_point for s in planned(cell("magnitude@imp", 0.75)).stages.values())


def test_parents_come_first_and_trainings_are_counted():
    whole = planned(cell("magnitude@imp(rewind=0.1)"), cell("snip@init+reinit"))
    order = list(whole.stages)
    for stage in whole.stages.values():
        assert all(order.index(parent) < order.index(stage.id) for parent in stage.parents)
    chain = whole.chains[cell("magnitude@imp(rewind=0.1)").id]
    assert [whole.stages[s].trainings_before for s in chain] == list(range(len(chain)))


def test_only_what_is_missing_is_needed():
    low, high = cell("magnitude@imp(rate=0.5,rewind=0.1)", 0.75), cell("magnitude@imp(rate=0.5,rewind=0.1)", 0.875)
    whole = planned(low, high)
    stages, cells = list(whole.stages), set(whole.cells)
    assert whole.needed([], []) == stages
    assert whole.needed(stages, cells) == whole.needed([], cells) == whole.needed(stages, []) == []
    last = whole.chains[high.id][-1]
    assert whole.needed([s for s in stages if s != last], cells - {high.id}) == [last]
    assert whole.needed([], cells - {low.id}) == [s for s in stages if s != last]
    # The record tells of the whole chain: a stage lost in its middle is computed again.
    middle = whole.chains[low.id][1]
    assert middle in whole.needed([s for s in stages if s != middle], cells - {high.id})


def test_the_dense_reference_of_each_cell_must_be_there():
    whole = planned(cell("snip"))
    assert set(whole.references.values()) == {cell("dense", 0.0).id}
    with pytest.raises(KeyError):
        plan([cell("snip")])


def test_a_changed_argument_is_another_stage_but_the_trunk_stays():
    a, b = planned(cell("magnitude@finetune")), planned(cell("magnitude@finetune(rate=0.2)"))
    assert len(set(a.stages) & set(b.stages)) == 1
