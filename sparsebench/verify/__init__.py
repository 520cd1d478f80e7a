"""Verify: stored artifacts and published records held against each other. Nothing is changed, and no code is run.

| rule | holds of |
| --- | --- |
| record, provenance, arithmetic | every record, with its neighbours in the folder |
| chain | the stages that a record's settings name, and those in the store |
| digests, masks, weights, nesting | every stage once; masks and weights also the record that stands on it |
| measure | the last network of every record, if asked for |

A rule that fails ends the questions about its stage, so that one fault is one failure. Whoever changes a network and
all that follows from it, digests included, is found out only by ``measure`` or by computing the cell again.
"""

from __future__ import annotations

from pathlib import Path

from sparsebench.errors import UsageError
from sparsebench.verify.folder import find
from sparsebench.verify.passes import Verification
from sparsebench.verify.report import RULES, Check, Report

__all__ = ["RULES", "Check", "Report", "verify"]


def verify(
    folder: str | Path, store: str | Path | None = None, *, measure: bool = False, data_root: str | None = None
) -> Report:
    """Check everything that can be checked in a store, or in a folder of records and the store behind them.

    Args:
        store: with a folder of records, where the networks are; None = records alone, without torch.
        measure: run every stored network on the test split again.
        data_root: folder of the data sets; digits need none.

    Raises:
        UsageError: there is nothing to verify, or nothing to measure.
    """
    source = find(folder, store)
    if measure and source.store is None:
        raise UsageError(f"--measure runs stored networks and {folder} holds records only: name their store by --store")
    return Verification(source, data_root).run(measure)
