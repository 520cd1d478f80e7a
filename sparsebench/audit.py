"""Audit: what must hold of a cell, checked in every run; a cell that fails is shown and not ranked.

Stages note what they saw while they ran (``{"rule", "passed", "detail"}``); ``audit`` joins those notes
with checks of the finished network into one verdict a rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from sparsebench.allocation import kept_count
from sparsebench.masks import Masks
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
    test_reads: int,
    flagged: bool,
    should_be_flagged: bool,
    differences: list[str],
) -> list[dict[str, Any]]:
    """One verdict a rule, in order: passed only if every note and check of it passed."""
    found = [*notes, *_finished(net, masks, sparsity)]
    found += [
        {"rule": 8, "passed": test_reads == 1, "detail": f"test set read {test_reads} time(s), after the last step"},
        {"rule": 9, "passed": flagged or not should_be_flagged, "detail": "collapsed" if flagged else "not collapsed"},
        {"rule": 10, "passed": not differences, "detail": ", ".join(differences) or "as the dense row"},
    ]
    return [_verdict(rule, [note for note in found if note["rule"] == rule]) for rule in RULES]


def _finished(net: nn.Module, masks: Masks | None, sparsity: float) -> list[dict[str, Any]]:
    """Rules 1, 2 and 11 on the finished network."""
    if masks is None:
        return [{"rule": 1, "passed": sparsity == 0, "detail": "dense"}]
    scope = scope_of(net)
    expected = kept_count(1 - sparsity, scope.size)
    leaked = sum(int(((scope.prunable[n] != 0) & ~m).sum()) for n, m in masks.items() if n in scope.prunable)
    return [
        {"rule": 1, "passed": masks.kept == expected, "detail": f"{masks.kept} kept, {expected} asked of {scope.size}"},
        {"rule": 2, "passed": leaked == 0, "detail": f"{leaked} pruned weights of the finished network are not 0"},
        {"rule": 11, "passed": set(masks) == set(scope.prunable), "detail": f"{len(masks)} weight tensors masked"},
    ]


def _verdict(rule: int, notes: list[dict[str, Any]]) -> dict[str, Any]:
    failed = [note["detail"] for note in notes if not note["passed"]]
    detail = "; ".join(failed) if failed else (notes[-1]["detail"] if notes else "does not apply")
    return {"rule": rule, "name": RULES[rule], "passed": not failed, "detail": detail}
