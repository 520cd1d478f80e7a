"""A sound submission is valid; each way to tamper with one is caught, by the rule that is meant to."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sparsebench.errors import UsageError
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context
from sparsebench.grid.rerun import board_of, cell_of
from sparsebench.grid.run import run
from sparsebench.metrics.bias import bias
from sparsebench.record import Record
from sparsebench.submission import validate
from sparsebench.submission.code import registered
from sparsebench.submission.gather import submit
from sparsebench.submission.manifest import FILE, Manifest, digests
from tests.grid.tampering import put
from tests.submission.conftest import METHOD, cover_up, edit, entry, record, rename


def failed(folder: Path, **options) -> set[str]:
    return {check.rule for check in validate(folder, **options).failures}


def test_a_sound_submission_is_valid(submitted):
    report = validate(submitted)
    assert report.passed, report.failures
    assert report.records == 6
    assert set(report.counts) == {
        "manifest", "files", "code", "record", "provenance", "arithmetic", "chain", "cells", "audit", "seeds", "table",
    }  # fmt: skip


def test_a_folder_of_submissions_is_gone_through(submitted, tmp_path):
    shutil.copytree(submitted, tmp_path / "all" / "small" / "mine")
    assert failed(tmp_path / "all") == set()
    shutil.copytree(submitted, tmp_path / "all" / "small" / "twin")
    manifest = Manifest.load(submitted)
    replace(manifest, name="twin").save(tmp_path / "all" / "small" / "twin")
    report = validate(tmp_path / "all")
    assert [c.reasons[0].split(" by ")[0] for c in report.failures] == [f"{METHOD} is submitted"]


def listed(folder: Path) -> None:
    """Digests of the files as they are now."""
    replace(Manifest.load(folder), files=digests(folder)).save(folder)


def in_manifest(**changes):
    return lambda folder: replace(Manifest.load(folder), **changes).save(folder)


def covered(change):
    def tamper(folder: Path) -> None:
        edit(record(folder), change)
        cover_up(folder)

    return tamper


def text(name: str, old: str, new: str, sign: bool = False):
    def tamper(folder: Path) -> None:
        path = record(folder) if name == "record" else folder / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))
        if sign:
            listed(folder)

    return tamper


def swapped_seeds(folder: Path) -> None:
    """The better seed's numbers under the other's name: 0 and 1 change places."""
    paths = [record(folder, seed=seed) for seed in (0, 1)]
    for path, seed in zip(paths, (1, 0), strict=True):
        edit(path, lambda data, seed=seed: (put("cell", "seed", seed)(data), put("settings", "seed", seed)(data)))
    moved = [path.rename(path.with_suffix(".old.json")) for path in paths]
    for path in moved:
        rename(path)
    chains(folder)
    cover_up(folder)


def chains(folder: Path) -> None:
    """Parents as the settings of a record say."""
    from sparsebench.verify.names import chain

    for path in (folder / "results").rglob("*.json"):
        edit(path, lambda data: data.update(parents=[link.id for link in chain(data)]))


def copied_to_another_seed(folder: Path) -> None:
    victim = record(folder, seed=1)
    data = json.loads(record(folder, seed=0).read_text())
    data["cell"]["seed"] = data["settings"]["seed"] = 1
    victim.write_text(json.dumps(data))
    rename(victim)
    chains(folder)
    cover_up(folder)


def copied_file(folder: Path) -> None:
    path = record(folder)
    shutil.copy(path, path.with_name("0" * 16 + ".json"))
    cover_up(folder)


def without_a_seed(folder: Path) -> None:
    record(folder, seed=1).unlink()
    cover_up(folder)


def without_a_seed_at_all(folder: Path) -> None:
    without_a_seed(folder)
    in_manifest(cells=5)(folder)


def from_another_protocol(folder: Path) -> None:
    edit(record(folder), put("protocol", 0))
    rename(record(folder))
    chains(folder)
    cover_up(folder)


def another_method(folder: Path) -> None:
    """A record of a method that the file does not define."""
    data = json.loads(record(folder).read_text())
    data["cell"]["method"] = "another@finetune"
    data["settings"]["phases"][1]["scorer"]["criterion"] = "another"
    path = folder / "results" / "small" / "another@finetune" / "x.json"
    path.parent.mkdir()
    path.write_text(json.dumps(data))
    rename(path)
    chains(folder)
    cover_up(folder)


def flipped(data: dict) -> None:
    """A failed rule said to have passed, its words left as they were."""
    data["audit"][1].update(passed=True, detail="7 pruned weights of the finished network are not 0")


def other_count(data: dict) -> None:
    data["audit"][0].update(detail="999 kept, 670 asked of 1340")


def linked(folder: Path) -> None:
    path = record(folder)
    shutil.copy(path, folder.parent / "elsewhere.json")
    path.unlink()
    path.symlink_to(folder.parent / "elsewhere.json")


TAMPERED = {
    "edited accuracy": (text("record", '"top1": 0.', '"top1": 0.9'), {"record", "files", "cells", "table"}),
    "edited accuracy, all digests and tables made anew": (covered(put("metrics", "top1", 0.99)), {"arithmetic"}),
    "swapped seeds": (swapped_seeds, {"arithmetic", "seeds"}),
    "a cell copied to another seed": (copied_to_another_seed, {"arithmetic", "seeds"}),
    "a copied file": (copied_file, {"record", "cells"}),
    "a removed bad seed": (without_a_seed, {"cells"}),
    "a removed bad seed, and their number": (without_a_seed_at_all, {"cells"}),
    "a record from another protocol": (from_another_protocol, {"provenance", "cells"}),
    "edited method file": (text("mine.py", "power: float = 2.0", "power: float = 1.0"), {"files", "cells"}),
    "edited method file, digest made anew": (text("mine.py", "= 2.0", "= 1.0", sign=True), {"cells"}),
    "a comment in the method file": (text("mine.py", "return", "# so\n    return", sign=True), {"cells"}),
    "method file without the method": (text("mine.py", "def mine_of", "def his_of", sign=True), {"code"}),
    "method file of no Python": (text("mine.py", "def mine_of", "deff mine_of", sign=True), {"code"}),
    "NaN": (text("record", '"nll": ', '"nll": NaN, "was": ', sign=True), {"record", "cells", "table"}),
    "changed table": (text("table.csv", ",2,", ",3,"), {"files", "table"}),
    "changed table, digest made anew": (text("table.csv", ",2,", ",3,", sign=True), {"table"}),
    "changed page": (text("README.md", "| 50 % |", "| 90 % |"), {"table"}),
    "a method that is not in the file": (another_method, {"cells"}),
    "a failed audit": (covered(put("audit", 1, "passed", False)), {"audit"}),
    "a failed audit said to have passed": (covered(flipped), {"audit"}),
    "a count that is not the one asked for": (covered(other_count), {"audit"}),
    "an audit with a rule less": (covered(lambda data: data["audit"].pop()), {"audit"}),
    "dirty code": (covered(put("provenance", "dirty", True)), {"provenance"}),
    "unknown code": (covered(put("provenance", "commit", None)), {"provenance"}),
    "another board version": (covered(put("board_version", 1)), {"cells"}),
    "another board version in the manifest": (in_manifest(board_version=1), {"manifest"}),
    "another protocol in the manifest": (in_manifest(protocol=0), {"manifest"}),
    "another board": (in_manifest(board="tiny"), {"manifest"}),
    "a board that ships, replaced": (in_manifest(board="quick"), {"manifest", "cells"}),
    "another name": (in_manifest(name="yours"), {"manifest"}),
    "another method in the manifest": (in_manifest(methods=["magnitude@finetune"]), {"cells"}),
    "said to be unverified": (in_manifest(unverified=True), {"manifest", "cells"}),
    "a manifest that is none": (text(FILE, "{", "["), {"manifest"}),
    "a manifest with a field less": (text(FILE, '"protocol"', '"protokoll"'), {"manifest"}),
    "a manifest that leads outside": (in_manifest(method_file="../mine.py"), {"manifest"}),
    "a file besides": (lambda folder: (folder / "weights.bin").write_text("x"), {"files"}),
    "a file less": (lambda folder: (folder / "table.csv").unlink(), {"files", "table"}),
    "a link": (linked, {"files"}),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_is_caught(how, folder):
    tamper, rules = TAMPERED[how]
    tamper(folder)
    assert failed(folder) == rules


def forged(data: dict, dense: dict) -> None:
    """One more image hit, and everything in the record that follows from it."""
    counts = data["per_class"]
    worst = max(range(10), key=lambda i: counts["fn"][i])
    wrong = max(range(10), key=lambda i: (i != worst, counts["fp"][i]))
    counts["tp"][worst] += 1
    counts["fn"][worst] -= 1
    counts["fp"][wrong] -= 1
    data["metrics"]["top1"] = sum(counts["tp"]) / sum(counts["n"])
    data["metrics"]["worst_class"] = min(hits / n for hits, n in zip(counts["tp"], counts["n"], strict=True))
    data["metrics"].update(bias(counts, dense["per_class"]))


def again(data, files) -> list[Record]:
    """Computed in a store of its own; the same twice is computed once."""
    key = data["cell_id"]
    if key not in COMPUTED:
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as store:
            context = Context(store, Hardware(), "test", tuple(files))
            COMPUTED[key] = list(run(board_of(cell_of(data)), context, 1, launcher="inline").records.values())
    return COMPUTED[key]


COMPUTED: dict[str, list[Record]] = {}


def test_a_careful_forgery_is_found_by_computing_again_and_by_nothing_else(folder):
    path = record(folder)
    dense = json.loads(record(folder, sparsity=0.0).read_text())
    edit(path, lambda data: forged(data, dense))
    cover_up(folder)
    assert failed(folder) == set()
    report = validate(folder, rerun=4, again=again)
    assert {(check.rule, check.subject) for check in report.failures} == {("rerun", path.stem)}
    assert any("metrics.top1" in reason for check in report.failures for reason in check.reasons)


def test_cells_are_drawn_by_the_manifest_and_the_salt(submitted, folder):
    def drawn(place: Path, **options) -> list[str]:
        asked = []

        def note(data, files):
            asked.append(data["cell_id"])
            assert [Path(file).name for file in files] == ["mine.py"]
            return []

        validate(place, rerun=2, again=note, **options)
        return asked

    first = drawn(submitted)
    assert len(first) == len(set(first)) == 2
    assert drawn(submitted) == first
    assert len({tuple(drawn(submitted, salt=str(salt))) for salt in range(8)}) > 1
    by_summary = set()
    for number in range(8):
        in_manifest(summary=f"{number}")(folder)
        by_summary.add(tuple(drawn(folder)))
    assert len(by_summary) > 1


def test_what_cannot_be_computed_again_is_a_fault(submitted):
    def refuse(data, files):
        raise UsageError("no such network")

    report = validate(submitted, rerun=1, again=refuse)
    assert [(check.rule, check.reasons) for check in report.failures] == [("rerun", ("no such network",))]


def test_nothing_stays_registered(submitted):
    from sparsebench.registry import criterion

    validate(submitted)
    assert "mine_of_the_tests" not in criterion.entries


class TestWithoutCode:
    @pytest.fixture
    def bare(self, ran, tmp_path) -> Path:
        given = entry(ran, file=None, unverified=True)
        return submit(given, str(ran / "small.yaml"), ran / "results", tmp_path / "to")[0]

    def test_is_marked_everywhere_and_valid(self, bare):
        assert Manifest.load(bare).unverified
        assert "**Unverified.**" in (bare / "README.md").read_text()
        assert not list(bare.rglob("*.py"))
        found = [Record.load(path).data for path in (bare / "results").rglob("*.json")]
        assert [data["unverified"] for data in found] == [True] * 6
        report = validate(bare, rerun=2)
        assert report.passed
        assert any("unverified" in note for note in report.notes)

    @pytest.mark.parametrize(
        ("tamper", "rules"),
        [
            (lambda f: edit(record(f), lambda data: data.pop("unverified")) or cover_up(f), {"cells"}),
            (in_manifest(unverified=False), {"code"}),
            (lambda f: record(f, seed=1).unlink() or cover_up(f), {"cells"}),
            (lambda f: edit(record(f), put("metrics", "top1", 0.99)) or cover_up(f), {"arithmetic"}),
            (swapped_seeds, {"arithmetic", "seeds"}),
        ],
    )
    def test_what_records_alone_can_show_is_caught(self, tamper, rules, bare):
        tamper(bare)
        assert failed(bare) == rules

    def test_another_task_under_the_same_name(self, bare):
        for path in sorted((bare / "results").rglob("*.json")):
            edit(path, put("settings", "task", "recipe", "rate", 0.2))
            rename(path)
        chains(bare)
        cover_up(bare)
        assert failed(bare) == {"cells"}


RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.skipif(not (RESULTS / "quick").is_dir(), reason="an installed package has no results beside it")
class TestResults:
    @pytest.fixture
    def quick(self, tmp_path) -> Path:
        """The committed records and their page."""
        return Path(shutil.copytree(RESULTS / "quick", tmp_path / "quick"))

    def test_a_board_is_valid(self, quick):
        report = validate(quick)
        assert report.passed, report.failures[:3]
        assert "table" in report.counts

    def test_a_removed_seed_and_an_edited_page_are_caught(self, quick):
        next((quick / "magnitude@finetune").glob("*.json")).unlink()
        report = validate(quick)
        assert {check.rule for check in report.failures} == {"table"}
        assert any("magnitude@finetune lacks 1 cells" in note for note in report.notes)


@pytest.mark.parametrize(("place", "why"), [("gone", "is not a folder"), (".", "holds neither submissions")])
def test_what_is_no_submission_is_refused(place, why, tmp_path):
    with pytest.raises(UsageError, match=why):
        validate(tmp_path / place)


def test_registered_methods_are_those_of_before(ran):
    from sparsebench.registry import criterion

    before = dict(criterion._added)
    with registered(ran / "mine.py"):
        assert "mine_of_the_tests" in criterion.entries
    assert criterion._added == before
