"""Judged: the verdicts of an audit against their own words, on the records that are committed and on made-up ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsebench.audit import RULES
from sparsebench.record import load_all
from sparsebench.submission import judged

RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.skipif(not RESULTS.is_dir(), reason="an installed package has no results beside it")
def test_no_committed_record_is_doubted():
    records = {path.data["cell_id"]: path.data for path in load_all(RESULTS / "quick")[0]}
    assert len(records) > 300
    assert [fault for data in records.values() for fault in judged.audit(data)] == []
    assert list(judged.alike(records.items())) == []
    assert list(judged.off_trunk(records)) == []


def test_every_rule_of_the_audit_is_known():
    assert list(RULES) == list(range(1, judged.RULES + 1))


DATA = {
    "cell": {"sparsity": 0.75},
    "sparsity": {"kept": 25, "prunable": 100},
    "per_class": {"n": [200, 200]},
    "collapsed": False,
}


@pytest.mark.parametrize(
    ("rule", "detail", "holds"),
    [
        (1, "25 kept, 25 asked of 100", True),
        (1, "26 kept, 25 asked of 100", False),
        (1, "26 kept, 26 asked of 100", False),
        (1, "25 kept, whole blocks up to 25 asked of 100", True),
        (1, "24 kept, whole blocks up to 25 asked of 100", False),
        (1, "whole units, 25 weights kept", True),
        (1, "whole units, 31 weights kept", False),
        (1, "300 multiply-accumulates, at most 200 asked", False),
        (1, "dense", False),
        (2, "0 pruned weights of the finished network are not 0", True),
        (2, "3 pruned entries of weights or optimiser state were not 0", False),
        (4, "1 digest(s) on 2 of 2 process(es)", True),
        (4, "2 digest(s) on 2 of 2 process(es)", False),
        (5, "state_dict keys are those of the dense network", True),
        (5, "state_dict keys are those of the dense network but for fc1.mask", False),
        (8, "test set read 1 time(s), after the last step", True),
        (8, "test set read 2 time(s), after the last step", False),
        (8, "399 of 400 test images counted, each once", False),
        (9, "collapsed", False),
        (10, "as the dense row", True),
        (10, "data_digest", False),
        (7, "words of a later version", True),
    ],
)
def test_words_and_numbers(rule, detail, holds):
    verdicts = [{"rule": n, "name": name, "passed": True, "detail": "does not apply"} for n, name in RULES.items()]
    verdicts[9]["detail"] = "as the dense row"
    verdicts[rule - 1]["detail"] = detail
    faults = list(judged.audit({**DATA, "audit": verdicts}))
    assert bool(faults) is not holds
