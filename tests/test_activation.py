"""AP's choice of weights, by eye on four weights."""

from __future__ import annotations

import pytest
import torch

from sparsebench.activation import activated, share, without_least
from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.methods import parse
from sparsebench.phases import Activating, Prune, Rewind, Scorer, Train, describe, phase_of
from sparsebench.selection import select

W = {"a": torch.tensor([-1.0, 2.0]), "b": torch.tensor([[-3.0, -4.0]])}
START = {"a": torch.tensor([-1.5, 2.0]), "b": torch.tensor([[-3.1, -9.0]])}
ALL = Masks({"a": torch.tensor([True, True]), "b": torch.tensor([[True, True]])})


def kept(masks: Masks) -> list[bool]:
    return [bool(k) for mask in masks.values() for k in mask.flatten()]


def test_the_negative_weight_that_moved_least_goes_whatever_its_tensor_and_size():
    assert kept(without_least(W, START, ALL, 1)) == [True, True, False, True]
    assert kept(without_least(W, START, ALL, 2)) == [False, True, False, True]


def test_a_pruned_weight_is_no_candidate_and_stays_pruned():
    masks = Masks({"a": torch.tensor([True, True]), "b": torch.tensor([[False, True]])})
    assert kept(without_least(W, START, masks, 1)) == [False, True, False, True]


def test_the_controls_look_at_other_weights_and_scores():
    assert kept(without_least(W, START, ALL, 1, sign="positive")) == [True, False, True, True]
    assert kept(without_least(W, START, ALL, 1, sign="both")) == [True, False, True, True]
    assert kept(without_least(W, START, ALL, 1, score="magnitude")) == [False, True, True, True]
    draws = [kept(without_least(W, START, ALL, 1, score="random", generator=generator(s))) for s in range(30)]
    assert {tuple(d) for d in draws} == {
        (False, True, True, True),
        (True, True, False, True),
        (True, True, True, False),
    }
    assert draws[0] == kept(without_least(W, START, ALL, 1, score="random", generator=generator(0)))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_changing_all_signs_swaps_ap_and_its_mirror():
    flipped = [{n: -t for n, t in part.items()} for part in (W, START)]
    assert kept(without_least(*flipped, ALL, 2, sign="positive")) == kept(without_least(W, START, ALL, 2))
    assert kept(without_least(*flipped, ALL, 1)) == kept(without_least(W, START, ALL, 1, sign="positive"))


def test_of_equals_the_first_stays():
    w = {"a": torch.tensor([-1.0, -2.0, -3.0])}
    start = {"a": torch.tensor([-2.0, -3.0, -4.0])}
    assert kept(without_least(w, start, Masks({"a": torch.tensor([True] * 3)}), 1)) == [True, True, False]


def test_too_few_candidates_all_go_and_nothing_else():
    assert kept(without_least(W, START, ALL, 4)) == [False, True, False, False]


def test_a_floor_keeps_the_weight_of_a_tensor_that_moved_most():
    assert kept(without_least(W, START, ALL, 4, floor=1)) == [False, True, False, True]
    assert kept(without_least(W, START, ALL, 4, floor=2)) == [True] * 4


def test_numbers_that_are_not_finite_rank_as_moved_most():
    w = {"a": torch.tensor([-float("inf"), float("nan"), -1.0, 1.0])}
    start = {"a": torch.zeros(4)}
    masks = Masks({"a": torch.tensor([True] * 4)})
    assert kept(without_least(w, start, masks, 1)) == [True, True, False, True]
    assert kept(without_least(w, start, masks, 3)) == [False, True, False, True]


def magnitude(masks: Masks, sparsity: float) -> Masks:
    return select({n: w.abs() for n, w in W.items()}, 1 - sparsity, masks=masks)


def test_the_base_method_leaves_as_much_as_ap_removes():
    found = activated(Activating(0.25), 0.5, ALL, W, START, magnitude)
    assert kept(found.masks) == [False, True, False, True]  # magnitude takes -1, AP -3; magnitude alone -1 and 2
    assert (found.alive, found.asked, found.removed) == (4, 1, 1)


def test_where_negative_weights_run_out_the_base_method_goes_on():
    positive = {n: w.abs() for n, w in W.items()}
    found = activated(Activating(0.25), 0.5, ALL, positive, START, magnitude)
    assert found.masks == magnitude(ALL, 0.5)
    assert (found.asked, found.removed) == (1, 0)


def test_all_of_a_pruning_that_is_aps_alone_asks_the_base_method_nothing():
    def never(masks, sparsity):
        raise AssertionError

    found = activated(Activating(0.1, whole=True), 0.5, ALL, W, START, never)
    assert kept(found.masks) == [False, True, False, True]


def test_never_more_than_half_of_a_pruning():
    assert share(Activating(0.5), 1000, 900) == 50
    assert share(Activating(0.02), 1000, 800) == 20


def test_each_pruning_after_a_training_gets_its_share():
    part = Activating(0.02)
    found = parse("magnitude@imp(rate=0.5)+ap").phases(0.75)
    assert [p.ap for p in found if isinstance(p, Prune)] == [part, part]
    assert [p.ap for p in parse("magnitude@finetune+ap(q=0.01)").phases(0.9) if isinstance(p, Prune)] == [
        Activating(0.01)
    ]
    assert parse("lamp@gmp+ap").phases(0.9)[0].pruner.ap == part


def test_at_initialisation_there_is_a_training_between_the_method_and_ap():
    scorer = Scorer("snip")
    first, *rest = parse("snip@init+ap(q=0.1)").phases(0.82)
    assert first == Prune(pytest.approx(0.8), scorer)
    assert rest == [Train(), Prune(0.82, scorer, Activating(0.1, whole=True)), Rewind(), Train()]


def test_names_of_cells_without_ap_do_not_know_it_and_phases_come_back_from_their_description():
    assert "ap" not in describe(Prune(0.9, Scorer("magnitude")))
    for method in ("magnitude@imp+ap", "magnitude@gmp+ap(sign='both')", "snip@init+ap", "magnitude@gmp"):
        phases = parse(method).phases(0.9)
        assert [phase_of(describe(phase)) for phase in phases] == phases


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("l1@lrr+ap", "whole units"),
        ("woodfisher@finetune+ap", "changes the weights"),
        ("magnitude/2:4@lrr(rate=0.5)+ap", "in a pattern"),
        ("magnitude/block4x4@imp+ap", "in a pattern"),
        ("movement@ramp+ap", "return"),
        ("rigl+ap", "works beside one"),
        ("set+ap", "works beside one"),
        ("dense+ap", "works beside one"),
        ("magnitude@imp+shuffle+ap", "before \\+shuffle"),
        ("magnitude@imp+ap(q=0)", "q=0 is"),
        ("magnitude@imp+ap(q=1.5)", "q=1.5 is"),
        ("magnitude@imp+ap(sign='left')", "'negative', 'positive', 'both'"),
        ("magnitude@imp+ap(score='taylor')", "'movement', 'random', 'magnitude'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(method, reason):
    with pytest.raises(UsageError, match=reason):
        parse(method)
