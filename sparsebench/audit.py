"""Audit: what must hold of a cell, checked in every run; a cell that fails is shown and not ranked.

Stages note what they saw while they ran (``{"rule", "passed", "detail"}``); ``audit`` joins those notes
with checks of the finished network into one verdict a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from sparsebench.allocation import kept_count, split_allocation
from sparsebench.masks import Masks
from sparsebench.patterns import NM, Block
from sparsebench.scope import scope_of

RULES = {
    1: "exact counts",
    2: "pruned weights stay zero",
    3: "masks nested or count constant",
    4: "ranks hold the same masks",
    5: "loads as the dense network",
    6: "rewinding restores everything",
    7: "scoring leaves the model as it was",
    8: "test set read once, at the end",
    9: "collapse flagged",
    10: "same code and data as the dense row",
    11: "only weights are pruned",
}


def audit(
    notes: Iterable[dict[str, Any]],
    net: nn.Module,
    masks: Masks | None,
    sparsity: float,
    *,
    allocation: str = "global",
    own_count: Sequence[dict[str, Any]] = (),
    test_reads: int,
    test_images: tuple[int, int],
    flagged: bool,
    should_be_flagged: bool,
    differences: list[str],
) -> list[dict[str, Any]]:
    """One verdict a rule, in order: passed only if every note and check of it passed.

    ``allocation`` says by which count the masks go. ``own_count``: rule 1 of a network that was made smaller, which has
    no masks. ``test_images``: how many were counted, and how many there are.
    """
    counted, images = test_images
    found = [*notes, *(own_count or _finished(net, masks, sparsity, allocation))]
    found += [
        {"rule": 8, "passed": test_reads == 1, "detail": f"test set read {test_reads} time(s), after the last step"},
        {"rule": 8, "passed": counted == images, "detail": f"{counted} of {images} test images counted, each once"},
        {"rule": 9, "passed": flagged or not should_be_flagged, "detail": "collapsed" if flagged else "not collapsed"},
        {"rule": 10, "passed": not differences, "detail": ", ".join(differences) or "as the dense row"},
    ]
    return [_verdict(rule, [note for note in found if note["rule"] == rule]) for rule in RULES]


def _finished(net: nn.Module, masks: Masks | None, sparsity: float, allocation: str) -> list[dict[str, Any]]:
    """Rules 1, 2 and 11 on the finished network."""
    if masks is None:
        return [{"rule": 1, "passed": sparsity == 0, "detail": "dense"}]
    scope = scope_of(net)
    leaked = sum(int(((scope.prunable[n] != 0) & ~m).sum()) for n, m in masks.items() if n in scope.prunable)
    exact, count = exact_count(Masks({n: m for n, m in masks.items() if n in scope.prunable}), sparsity, allocation)
    return [
        {"rule": 1, "passed": exact, "detail": f"{masks.kept} kept, {count} of {scope.size}"},
        {"rule": 2, "passed": leaked == 0, "detail": f"{leaked} pruned weights of the finished network are not 0"},
        {"rule": 11, "passed": set(masks) == set(scope.prunable), "detail": f"{len(masks)} weight tensors masked"},
    ]


def exact_count(masks: Masks, sparsity: float, allocation: str = "global") -> tuple[bool, str]:
    """Whether masks keep what their allocation says they must, and what that is.

    >>> import torch
    >>> exact_count(Masks({"w": torch.tensor([[True, False]])}), 0.5)
    (True, '1 asked')
    """
    expected = kept_count(1 - sparsity, masks.total)
    pattern = split_allocation(allocation)[1]
    if isinstance(pattern, NM):
        fits = {n: pattern.applies(tuple(m.shape)) for n, m in masks.items()}
        exact = all(
            bool((pattern.groups(m).sum(1) == pattern.n).all()) if fits[n] else bool(m.all()) for n, m in masks.items()
        )
        dense = len(masks) - sum(fits.values())
        return exact, f"{pattern.n} of every {pattern.m} asked" + (
            f" ({dense} tensors do not fit and are dense)" if dense else ""
        )
    if isinstance(pattern, Block):
        whole = all(
            bool((pattern.spread(pattern.sums(m.float()) > 0, tuple(m.shape)) == m).all()) for m in masks.values()
        )
        least = expected - pattern.rows * pattern.columns * (1 if "/" not in allocation else len(masks))
        return whole and least < masks.kept <= expected, f"whole blocks up to {expected} asked"
    return masks.kept == expected, f"{expected} asked"


def _verdict(rule: int, notes: list[dict[str, Any]]) -> dict[str, Any]:
    failed = [note["detail"] for note in notes if not note["passed"]]
    detail = "; ".join(failed) if failed else (notes[-1]["detail"] if notes else "does not apply")
    return {"rule": rule, "name": RULES[rule], "passed": not failed, "detail": detail}
