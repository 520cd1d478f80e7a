"""A folder is written only if everything is there and clean; otherwise it is said what is missing, and the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sparsebench.errors import UsageError
from sparsebench.record import Record
from sparsebench.submission.gather import NotReady, submit
from sparsebench.submission.manifest import Manifest
from tests.grid.tampering import put
from tests.submission.conftest import BOARD, FILE, METHOD, edit, entry, record


@pytest.fixture
def place(ran, tmp_path) -> Path:
    """A copy of the working folder without its store."""
    return Path(shutil.copytree(ran, tmp_path / "place", ignore=shutil.ignore_patterns(".sparsebench")))


def refusal(place: Path, **changes) -> list[str]:
    with pytest.raises(NotReady) as caught:
        submit(entry(place, **changes), str(place / "small.yaml"), place / "results", place / "to")
    assert not (place / "to").exists()
    return caught.value.problems


def test_what_is_written(ran, submitted):
    manifest = Manifest.load(submitted)
    files = sorted(path.relative_to(submitted).as_posix() for path in submitted.rglob("*") if path.is_file())
    records = [name for name in files if name.startswith("results/")]
    assert submitted.parts[-2:] == ("small", "mine")
    assert [name for name in files if name not in records] == [
        "README.md", "board.yaml", "mine.py", "submission.json", "table.csv",
    ]  # fmt: skip
    assert len(records) == manifest.cells == 6
    assert sorted(manifest.files) == sorted({*files} - {"README.md", "submission.json"})
    assert (manifest.methods, manifest.method_file, manifest.board, manifest.board_version) == (
        [METHOD], "mine.py", "small", 2,
    )  # fmt: skip
    assert not manifest.unverified
    assert manifest.summary == "score = |w|^power"
    assert (submitted / "mine.py").read_text() == FILE
    for name in records:
        assert (submitted / name).read_bytes() == (ran / name).read_bytes()


def test_the_table_is_that_of_the_records(submitted):
    rows = [line.split(",") for line in (submitted / "table.csv").read_text().splitlines()]
    found = [Record.load(path).data for path in (submitted / "results").rglob("*.json")]
    assert [(row[0], row[2], row[3]) for row in rows[1:]] == [
        ("dense", "0", "2"), (METHOD, "0.5", "2"), (METHOD, "0.75", "2"),
    ]  # fmt: skip
    for row in rows[1:]:
        top1 = [d["metrics"]["top1"] for d in found if d["cell"]["sparsity"] == float(row[2])]
        dense = [d["metrics"]["top1"] for d in found if d["cell"]["sparsity"] == 0]
        assert float(row[4]) == pytest.approx(sum(top1) / 2, rel=1e-5)
        assert float(row[5]) == pytest.approx(12.7062 * abs(top1[0] - top1[1]) / 2, rel=1e-4)
        assert float(row[6]) == pytest.approx((sum(dense) - sum(top1)) / 2, abs=1e-6)


def test_missing_cells_are_named_with_the_command_that_makes_them(place):
    record(place / "results", seed=1).unlink()
    lines = refusal(place)
    assert lines[0].startswith("1 of 6 cells of board small have no record in ")
    assert lines[1] == f"  {METHOD} on small-mlp: sparsity 0.5 seed 1"
    assert lines[2] == f"make them: sparsebench run {place / 'small.yaml'} --methods mine.py"


def test_nothing_at_all_is_the_whole_board(place):
    shutil.rmtree(place / "results")
    assert refusal(place)[0].startswith("6 of 6 cells")


def test_an_edited_method_file_has_no_records(place):
    (place / "mine.py").write_text(FILE + "\n")
    assert refusal(place)[0].startswith("4 of 6 cells")


def failed(data: dict) -> None:
    data.update(status="failed", error="out of memory", metrics={}, cost={}, audit=[])


UNFIT = {
    "dirty": (put("provenance", "dirty", True), "run again with a new --store and --results"),
    "failed": (failed, "the cell failed (out of memory): give the same run again"),
    "older board": (put("board_version", 1), "run it again with this version"),
    "audit": (put("audit", 2, "passed", False), "audit rule 3 (masks nested or count constant) failed"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_records_that_cannot_be_submitted(what, place):
    change, why = UNFIT[what]
    edit(record(place / "results"), change)
    assert any(why in line for line in refusal(place))


def test_damaged_records_are_named(place):
    path = record(place / "results")
    path.write_text(path.read_text()[:300])
    assert any(path.name in line and "not a JSON file" in line for line in refusal(place))


def test_a_folder_that_is_there_is_not_overwritten(place):
    (place / "to" / "small" / "mine").mkdir(parents=True)
    with pytest.raises(UsageError, match="is there already"):
        submit(entry(place), str(place / "small.yaml"), place / "results", place / "to")


def test_a_board_may_not_take_the_name_of_one_that_ships(place):
    (place / "small.yaml").write_text(BOARD.replace("name: small", "name: quick"))
    with pytest.raises(UsageError, match="a name of its own"):
        submit(entry(place), str(place / "small.yaml"), place / "results", place / "to")


def test_without_code_an_incomplete_set_is_refused_too(place):
    record(place / "results", seed=1).unlink()
    lines = refusal(place, file=None, unverified=True)
    assert lines[0].startswith("1 of 6 cells")
    assert lines[-1] == "ask whoever made the records for the others"


def test_authors_and_paper_are_kept(place):
    given = entry(place, authors=("Ada L.", "Björn Ö."), paper="arXiv:1234.56789")
    folder, manifest = submit(given, str(place / "small.yaml"), place / "results", place / "to")
    page = (folder / "README.md").read_text()
    assert "- Authors: Ada L., Björn Ö." in page
    assert "- Paper: arXiv:1234.56789" in page
    assert json.loads((folder / "submission.json").read_text())["authors"] == manifest.authors
