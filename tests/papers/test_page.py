"""The page: published beside measured, the same bytes each time, and a check that notices edits."""

from __future__ import annotations

import csv

import pytest

from sparsebench.papers import page, status
from sparsebench.papers.check import same_pages
from sparsebench.papers.published import published_table
from tests.papers import toy


@pytest.fixture
def written(tmp_path):
    folder = toy.saved(tmp_path)
    page.write(toy.RECIPE, toy.RECIPE.evidence("smoke", tmp_path), folder)
    return folder


def test_the_page_has_every_part(written):
    text = (written / "smoke.md").read_text(encoding="utf-8")
    assert "| claim | published | measured | 95 % interval | seeds | verdict |" in text
    assert "3 claims: 2 reproduced, 1 not testable here" in text
    assert "| Magnitude beats random | 2 to 3 points | 2 of 2 points hold |  |  | **✔ reproduced** |" in text
    assert "| Accuracy falls with sparsity |  | -1.00 | -1.00 to -1.00 | 3 | **✔ reproduced** |" in text
    assert "| Accuracies on CIFAR-10 | 1 number |  |  |  | **– not testable here** |" in text
    assert "- Rule: The paired interval is above 0.\n- Source: Abstract.\n" in text
    assert "| 50 % |  | 2.67 points | 1.23 to 4.10 | 3 | holds |" in text
    assert "| cifar10-vgg16, magnitude@finetune, 90 % | 93.1 % |  |  |  | not testable here |" in text
    assert "Needs --scale full: the smoke board has no cifar10-vgg16" in text
    assert "sparsebench reproduce toy --scale smoke" in text
    assert "![smoke-accuracy](smoke-accuracy.png)" in text
    assert (written / "smoke-accuracy.png").stat().st_size > 5000
    assert "15 of 15 records pass the audit" in text


def test_the_table_has_a_row_a_point_and_says_what_became_of_each_claim(written):
    with open(written / "smoke.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["claim"] for row in rows] == ["falls", "beats", "beats", "table", "table"]
    assert rows[1]["measured"] == "2.66667"
    assert rows[1]["seeds"] == "3"
    assert rows[1]["point"] == "holds"
    assert rows[3]["published"] == "93.1"
    assert rows[3]["measured"] == ""
    assert rows[4]["published"] == ""
    assert status.verdicts(written / "smoke.csv") == "2 reproduced, 1 not testable here"
    assert status.verdicts(written / "full.csv") == "not run"


def test_pages_that_were_edited_or_lag_behind_are_noticed(written):
    assert list(same_pages(toy.RECIPE, written)) == []
    table = written / "smoke.csv"
    table.write_text(table.read_text().replace("2.66667", "3.66667"))
    (written / "smoke.md").unlink()
    assert [line.partition(":")[0] for line in same_pages(toy.RECIPE, written)] == [
        "smoke.md is missing",
        "smoke.csv is not what the records give",
    ]


def judged(value, tolerance, **options):
    table = {("digits-mlp", "random@init", 0.5): value}
    claim = published_table("t", "T", table, source="s", setting="x", tolerance=tolerance, **options)[0]
    return claim.find(toy.evidence()).points[0]


def test_a_published_number_is_judged_by_its_distance():
    # Measured 93, 94 and 94 %: mean 93.67, interval 92.23 to 95.10.
    assert judged(94.0, 1.0).word == "holds"
    assert judged(96.0, 1.0).word == "holds"
    assert judged(96.2, 1.0).word == "refuted"
    # An interval much wider than the tolerance decides nothing.
    assert judged(94.0, 0.5).word == "undecided"
    assert judged(None, 1.0).word == "not testable here"
