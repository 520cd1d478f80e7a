"""Verify on records: each rule fails, and no other, when something is tampered with; what is untouched passes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sparsebench.errors import UsageError
from sparsebench.protocol import PROTOCOL, name_of
from sparsebench.verify import names, networks, verify
from tests.grid.tampering import (
    World,
    edit,
    edit_stage,
    failed,
    made,
    put,
    world,
)

__all__ = ["made", "world"]


def test_an_untouched_store_passes_by_every_rule(made):
    report = verify(made.store, measure=True)
    assert failed(report) == set()
    assert (report.records, report.stages) == (16, len(list((made.store / "stages").iterdir())))
    assert list(report.counts) == [
        "record", "provenance", "arithmetic", "chain", "digests", "masks", "weights", "nesting", "measure",
    ]  # fmt: skip
    assert report.counts["record"] == report.counts["measure"] == (16, 0)
    assert report.counts["digests"] == (report.stages, 0)
    # The second rung of imp, with and without a rewind point: all other masks begin anew or are moved.
    assert report.counts["nesting"] == (2, 0)


def test_untouched_results_pass_with_and_without_their_store(made):
    alone, behind = verify(made.results), verify(made.results, made.store)
    assert failed(alone) == failed(behind) == set()
    assert "digests" not in alone.counts
    assert behind.counts["digests"] == verify(made.store).counts["digests"]
    assert "16 records have their networks in" in behind.notes[0]
    assert failed(verify(made.results / "tiny", made.store)) == set()


def test_verifying_changes_nothing(world):
    def content() -> dict[Path, tuple]:
        return {p: (p.stat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in sorted(world.folder.rglob("*"))}

    before = content()
    verify(world.store, measure=True)
    verify(world.results, world.store, measure=True)
    assert content() == before


def rename(world: World) -> None:
    path = world.record("rigl")
    path.rename(path.with_stem("0123456789abcdef"))


def truncate(world: World) -> None:
    path = world.record("rigl")
    path.write_bytes(path.read_bytes()[:-200])


def nested_too_deeply(world: World) -> None:
    world.record("rigl").write_text("[" * 100_000)


def a_folder_in_its_place(world: World) -> None:
    path = world.record("rigl")
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "tamper",
    [
        rename,
        truncate,
        nested_too_deeply,
        a_folder_in_its_place,
        lambda w: edit(w.record("rigl"), put("metrics", "nll", 0.001), sign=False),
        lambda w: edit(w.record("rigl"), put("settings", "seed", 7)),
        lambda w: edit(w.record("rigl"), put("settings", {})),
        lambda w: edit(w.record("rigl"), put("cell", "method", "snip@init")),
        lambda w: edit(w.record("rigl"), put("cell", "sparsity", 0.75)),
        lambda w: edit(w.record("magnitude@imp"), put("cell", "method", "magnitude@imp(rate=0.25)")),
    ],
)
def test_record(tamper, world):
    tamper(world)
    assert world.verify() == {"record"}


def to_another_method(world: World) -> None:
    path = world.record("rigl", published=True)
    path.rename(world.record("str", published=True).parent / path.name)


@pytest.mark.parametrize(
    "tamper",
    [
        to_another_method,
        lambda w: edit(w.record("rigl", published=True), put("board", "quick")),
        lambda w: edit(w.record("rigl", published=True), put("metrics", "nll", 0.001)),
        lambda w: (w.results / "tiny" / "rigl" / "notes.json").write_text("{}"),
    ],
)
def test_record_of_results(tamper, world):
    tamper(world)
    assert world.verify_results(store=world.store) == {"record"}


def under_an_older_protocol(world: World) -> None:
    """A record as older code would have left it: under other names, all of them right."""
    path = world.record("snip@init+shuffle", published=True)

    def change(data: dict) -> None:
        data["protocol"] = PROTOCOL - 1
        data["cell_id"] = names.cell_name(data)
        data["parents"] = [link.id for link in names.chain(data)]

    edit(path, change)
    path.rename(path.with_stem(json.loads(path.read_text())["cell_id"]))


@pytest.mark.parametrize(
    "tamper",
    [
        lambda w: edit(w.record("rigl", published=True), put("provenance", "dirty", True)),
        lambda w: edit(w.record("rigl", published=True), put("provenance", "commit", None)),
        lambda w: edit(w.record("rigl", published=True), put("provenance", "versions", "torch", "1.0")),
        lambda w: edit(w.record("rigl", published=True), put("provenance", "precision", "16-mixed")),
        lambda w: edit(w.record("rigl", published=True), put("provenance", "data_digest", "0")),
        lambda w: edit(w.record("rigl", published=True), put("provenance", {})),
        lambda w: w.record("dense", published=True).unlink(),
        under_an_older_protocol,
    ],
)
def test_provenance_of_results(tamper, world):
    tamper(world)
    assert world.verify_results() == {"provenance"}


def test_provenance_of_a_store_may_be_changed_code_but_not_other_versions(world):
    edit(world.record("rigl"), put("provenance", "dirty", True))
    report = verify(world.store)
    assert failed(report) == set()
    assert any("code that was changed" in note for note in report.notes)
    edit(world.record("rigl"), put("provenance", "versions", "torch", "1.0"))
    assert world.verify() == {"provenance"}


def another_in_its_place(world: World) -> None:
    folder, other = world.stage("rigl", 0.5), world.stage("rigl", 0.75)
    shutil.rmtree(folder)
    shutil.copytree(other, folder)


def without_rewind_point(world: World) -> None:
    point = json.loads((world.stage("magnitude@imp(rewind=0.34)") / "stage.json").read_text())["rewind_point"]
    shutil.rmtree(world.store / "stages" / point)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda w: edit(w.record("magnitude@imp"), lambda data: data["parents"].reverse()),
        lambda w: edit(w.record("magnitude@imp", 0.75), lambda data: data["parents"].pop(1)),
        lambda w: shutil.rmtree(w.stage("rigl")),
        lambda w: (w.stage("rigl") / "stage.json").write_text("{}"),
        lambda w: (w.stage("rigl") / "stage.json").write_text('{"files"'),
        lambda w: edit_stage(w.stage("rigl"), put("id", "0123456789abcdef")),
        lambda w: edit_stage(w.stage("magnitude@imp", 0.75), put("parent", "0123456789abcdef")),
        lambda w: edit_stage(w.stage("magnitude@imp(rewind=0.34)"), put("rewind_point", None)),
        lambda w: edit_stage(w.stage("rigl"), put("phases", 0, "pruner", "every", 1)),
        another_in_its_place,
        without_rewind_point,
    ],
)
def test_chain(tamper, world):
    tamper(world)
    assert world.verify() == {"chain"}


def forget_a_failure(world: World) -> None:
    edit_stage(world.stage("rigl"), lambda report: report["audit"][0].update(passed=False))


def invent_a_failure(data: dict) -> None:
    data["audit"][6]["passed"] = False


@pytest.mark.parametrize(
    "tamper",
    [
        forget_a_failure,
        lambda w: edit(w.record("snip@init+shuffle"), invent_a_failure),
        lambda w: edit(w.record("rigl"), lambda data: data["audit"].pop(1)),
        lambda w: edit_stage(w.stage("rigl"), put("audit", [])),
        lambda w: edit_stage(w.stage("rigl"), put("epochs", 1)),
        lambda w: edit_stage(w.stage("rigl"), put("images", 1)),
        lambda w: edit_stage(w.stage("rigl"), put("losses", 0, 9.0)),
        lambda w: edit_stage(w.stage("rigl"), put("losses", "none")),
        lambda w: edit_stage(w.stage("rigl"), put("val_top1", 0.999)),
        lambda w: edit_stage(w.stage("rigl"), put("flags", ["scores not finite"])),
        *(
            lambda w, change=change: edit(w.record("rigl"), put(*change))
            for change in (
                ("metrics", "top1", 0.999),
                ("metrics", "worst_class", 0.999),
                ("metrics", "cev_s1", 0.0),
                ("metrics", "dead_dynamic_alive", 0.999),
                ("sparsity", "asked", 0.9),
                ("sparsity", "achieved", 0.51),
                ("sparsity", "kept", 1),
                ("flops", "speedup", 100.0),
                ("flops", "sparse", 1),
                ("cost", "epochs", 1),
                ("cost", "own_epochs", 99),
                ("cost", "trainings", 2),
                ("collapsed", True),
                ("flags", ["accuracy at chance level"]),
                ("per_class", "fn", [0] * 10),
                ("curves", {"losses": []}),
            )
        ),
    ],
)
def test_arithmetic(tamper, world):
    tamper(world)
    assert world.verify() == {"arithmetic"}


def more_than_all(data: dict) -> None:
    first, second = list(data["sparsity"]["layers"].values())[:2]
    second["kept"] -= first["size"] + 1 - first["kept"]
    first["kept"] = first["size"] + 1


@pytest.mark.parametrize(
    "change",
    [
        more_than_all,
        lambda data: data["sparsity"].update(total=1000, parameters=1000),
        lambda data: data["flops"].update(sparse=2 * data["flops"]["dense"], speedup=0.5),
        put("curves", "losses", 0, None),
    ],
)
def test_arithmetic_of_a_record_alone(change, world):
    edit(world.record("rigl", published=True), change)
    assert world.verify_results() == {"arithmetic"}


def test_a_record_computed_another_time_is_not_held_against_the_stages_of_this_time(world):
    edit(world.record("rigl", published=True), put("provenance", "created", "2020-01-01T00:00:00+00:00"))
    edit(world.record("rigl", published=True), put("cost", "seconds", 9.0))
    report = verify(world.results, world.store)
    assert failed(report) == set()
    assert report.notes[0].startswith("15 records have their networks")
    assert report.notes[1].startswith("1 of these were computed another time")


def test_stages_that_no_record_stands_on_have_their_files_compared(world):
    world.record("rigl").unlink()
    folder = world.stage("rigl", 0.75)
    world.record("rigl", 0.75).unlink()
    assert world.verify() == set()
    (folder / "weights.safetensors").write_bytes(b"")
    assert world.verify() == {"digests"}
    shutil.rmtree(folder)
    folder = world.stage("magnitude@imp", 0.75)
    shutil.rmtree(world.stage("magnitude@imp", 0.5))
    for sparsity in (0.5, 0.75):
        world.record("magnitude@imp", sparsity).unlink()
    report = verify(world.store)
    assert [check.subject for check in report.failures] == [folder.name]
    assert failed(report) == {"chain"}
    folder.rename(folder.with_name("0123456789abcdef"))
    assert world.verify() == {"chain"}


def test_an_unfinished_stage_and_a_failed_cell_are_notes(world):
    unfinished = world.store / "stages" / "0123456789abcdef"
    unfinished.mkdir()
    path = world.record("rigl", published=True)
    edit(path, lambda d: d.update(status="failed", error="out of memory", metrics={}, cost={}, provenance={}, audit=[]))
    assert "stage 0123456789abcdef is not finished" in verify(world.store).notes
    report = verify(world.results)
    assert failed(report) == set()
    assert report.notes == [f"{path.stem}: the cell failed: out of memory"]


def test_without_the_data_set_only_files_are_compared(made, monkeypatch):
    def missing(dataset: str, root: str | None):
        raise UsageError("no copy here")

    monkeypatch.setattr(networks, "_shape", missing)
    report = verify(made.store)
    assert failed(report) == set()
    assert report.counts["digests"][0] == report.stages
    assert "masks" not in report.counts
    assert any("data set digits is not here" in note for note in report.notes)


@pytest.mark.parametrize("folder", ["nowhere", "empty", "foreign", "file", "hollow", "above"])
def test_what_is_neither_store_nor_results_is_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "package.json").write_text("{}")
    (tmp_path / "file").write_text("")
    (tmp_path / "above" / ".sparsebench" / "records").mkdir(parents=True)
    (tmp_path / "above" / ".sparsebench" / "records" / "0123456789abcdef.json").write_text("{}")
    (tmp_path / "hollow" / "stages").mkdir(parents=True)
    with pytest.raises(UsageError, match=str(folder)):
        verify(tmp_path / folder)


def test_names_are_those_of_the_plan(made):
    """Two ways to a name: from the settings of a record, and from the board by the grid."""
    for path in (made.store / "records").iterdir():
        data = json.loads(path.read_text())
        assert names.cell_name(data) == name_of(data["settings"]) == path.stem
        assert [link.id for link in names.chain(data)] == data["parents"]
        assert names.dense_name(data) == made.record("dense").stem
