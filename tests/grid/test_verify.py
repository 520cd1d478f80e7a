"""Each rule of verify fails, and no other, when something is tampered with; an untouched store passes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import sparsebench.grid.finish as finish
from sparsebench.errors import UsageError
from sparsebench.grid.run import publish
from sparsebench.masks import Masks
from sparsebench.metrics.bias import bias
from sparsebench.models import build
from sparsebench.protocol import PROTOCOL, name_of
from sparsebench.record import Record
from sparsebench.snapshot import state_digest
from sparsebench.verify import Report, names, networks, verify
from tests.grid.conftest import run_inline, tiny_board

METHODS = [
    "magnitude@imp", "rigl", "str", "l1@finetune", "wanda/2:4@oneshot", "small_dense", "magnitude@imp(rewind=0.34)",
    "snip@init+shuffle",
]  # fmt: skip


class World:
    """A store and a results folder that may be tampered with."""

    def __init__(self, folder: Path):
        self.folder, self.store, self.results = folder, folder / "store", folder / "results"

    def record(self, method: str, sparsity: float = 0.5, published: bool = False) -> Path:
        """The file of a record."""
        for path in (self.results if published else self.store / "records").rglob("*.json"):
            cell = json.loads(path.read_text())["cell"]
            if (cell["method"], cell["sparsity"]) == (method, 0.0 if method == "dense" else sparsity):
                return path
        raise LookupError(method)

    def stage(self, method: str, sparsity: float = 0.5, index: int = -1) -> Path:
        """The folder of a stage of a cell's chain."""
        return self.store / "stages" / json.loads(self.record(method, sparsity).read_text())["parents"][index]

    def verify(self, **options: Any) -> set[str]:
        return failed(verify(self.store, **options))

    def verify_results(self, **options: Any) -> set[str]:
        return failed(verify(self.results, **options))


def failed(report: Report) -> set[str]:
    return {check.rule for check in report.failures}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> World:
    """Cells of every kind, computed once, from code that is said to be clean."""
    world, original = World(tmp_path_factory.mktemp("made")), finish.provenance
    board = tiny_board(*METHODS, sparsities=(0.5, 0.75))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finish, "provenance", lambda **facts: original(**facts) | {"commit": "c" * 40, "dirty": False})
        result = run_inline(board, world.store)
    assert not result.failed
    publish(board, result, world.results)
    return world


@pytest.fixture
def world(made, tmp_path) -> World:
    """A copy to tamper with."""
    shutil.copytree(made.folder, tmp_path / "copy")
    return World(tmp_path / "copy")


def edit(path: Path, change: Callable[[dict], Any], sign: bool = True) -> None:
    """Change a record and, so that it loads, its digest."""
    data = json.loads(path.read_text())
    change(data)
    if sign:
        Record(data).save(path)
    else:
        path.write_text(json.dumps(data))


def edit_stage(folder: Path, change: Callable[[dict], Any]) -> None:
    """Change ``stage.json``, which has no digest of its own."""
    report = json.loads((folder / "stage.json").read_text())
    change(report)
    (folder / "stage.json").write_text(json.dumps(report))


def sign(folder: Path) -> None:
    """Write the digests of what lies in a stage's folder now into its ``stage.json``."""

    def change(report: dict) -> None:
        report["files"] = {file: sha256((folder / file).read_bytes()).hexdigest() for file in report["files"]}

    edit_stage(folder, change)


def edit_masks(folder: Path, change: Callable[[dict], Any], kind: str = "masks") -> None:
    masks = {name: mask.clone() for name, mask in Masks.load(folder / f"{kind}.safetensors").items()}
    change(masks)
    Masks(masks).save(folder / f"{kind}.safetensors")
    sign(folder)


def edit_weights(folder: Path, change: Callable[[dict], Any]) -> None:
    """Change weights with all digests that depend on them."""
    weights = {name: weight.clone() for name, weight in load_file(folder / "weights.safetensors").items()}
    change(weights)
    save_file(weights, folder / "weights.safetensors")
    sign(folder)
    net = build("mlp", (1, 8, 8), 10, hidden=[16, 12])
    if {n: t.shape for n, t in net.state_dict().items()} == {n: t.shape for n, t in weights.items()}:
        net.load_state_dict(weights)
        edit_stage(folder, lambda report: report.update(final_digest=state_digest(net)))


def put(*keys: Any) -> Callable[[dict], None]:
    """``put("a", "b", 1)`` sets ``data["a"]["b"] = 1``."""

    def change(data: dict) -> None:
        for key in keys[:-2]:
            data = data[key]
        data[keys[-2]] = keys[-1]

    return change


FIRST = "fc1.weight"


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


def flip_a_byte(world: World) -> None:
    path = world.stage("rigl") / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def swap_weights(world: World) -> None:
    """Digests of files are made to fit; that of the loaded weights is not."""
    first, second = world.stage("snip@init+shuffle", 0.5), world.stage("snip@init+shuffle", 0.75)
    weights = (first / "weights.safetensors").read_bytes()
    shutil.copy(second / "weights.safetensors", first / "weights.safetensors")
    (second / "weights.safetensors").write_bytes(weights)
    sign(first)
    sign(second)


def cut(world: World, file: str) -> None:
    path = world.stage("rigl") / file
    path.write_bytes(path.read_bytes()[:100])
    sign(world.stage("rigl"))


def unfinished_optimizer(world: World) -> None:
    point = json.loads((world.stage("magnitude@imp(rewind=0.34)") / "stage.json").read_text())["rewind_point"]
    (world.store / "stages" / point / "optimizer.safetensors").unlink()


@pytest.mark.parametrize(
    "tamper",
    [
        flip_a_byte,
        swap_weights,
        unfinished_optimizer,
        lambda w: cut(w, "weights.safetensors"),
        lambda w: cut(w, "masks.safetensors"),
        lambda w: (w.stage("rigl") / "masks.safetensors").unlink(),
        lambda w: edit_stage(w.stage("rigl"), put("files", "../../../secret", "0")),
        lambda w: edit_stage(w.stage("rigl"), lambda report: report["files"].pop("weights.safetensors")),
        lambda w: edit_stage(w.stage("rigl"), put("final_digest", "0")),
        lambda w: edit_stage(w.stage("small_dense"), put("network_arguments", {"hidden": "wide"})),
    ],
)
def test_digests(tamper, world):
    tamper(world)
    assert world.verify() == {"digests"}


def one_more(masks: dict) -> None:
    masks[FIRST].view(-1)[(~masks[FIRST]).flatten().nonzero()[0]] = True


def to_another_group(masks: dict) -> None:
    """Keep as many of a row, but three of one group of four and one of the next."""
    row = masks[FIRST][0]
    row[(~row[:4]).nonzero()[0]] = True
    row[4 + row[4:8].nonzero()[0]] = False


def masks_of_nothing(world: World) -> None:
    folder = world.stage("dense")
    Masks.dense(build("mlp", (1, 8, 8), 10, hidden=[16, 12])).save(folder / "masks.safetensors")
    edit_stage(folder, put("files", "masks.safetensors", "0"))
    sign(folder)


def move_one_kept(data: dict) -> None:
    first, second = list(data["sparsity"]["layers"].values())[:2]
    first["kept"], second["kept"] = first["kept"] - 1, second["kept"] + 1


@pytest.mark.parametrize(
    "tamper",
    [
        masks_of_nothing,
        lambda w: edit_masks(w.stage("rigl"), one_more),
        lambda w: edit_masks(w.stage("rigl"), lambda masks: masks.pop(FIRST)),
        lambda w: edit_masks(w.stage("rigl"), lambda m: m.update({"fc1.bias": torch.ones(16, dtype=torch.bool)})),
        lambda w: edit_masks(w.stage("wanda/2:4@oneshot"), to_another_group),
        lambda w: edit_masks(w.stage("l1@finetune"), one_more, "structure"),
        lambda w: edit_stage(w.stage("small_dense"), put("network_arguments", {})),
        lambda w: edit(w.record("magnitude@imp"), move_one_kept),
        lambda w: edit(w.record("dense"), put("sparsity", "total", 10_000)),
    ],
)
def test_masks(tamper, world):
    tamper(world)
    assert world.verify() == {"masks"}


def revive(world: World) -> None:
    mask = Masks.load(world.stage("rigl") / "masks.safetensors")[FIRST]
    edit_weights(world.stage("rigl"), lambda weights: weights[FIRST].__setitem__(tuple((~mask).nonzero()[0]), 1e-30))


def a_row_of_zeros(world: World) -> None:
    edit_weights(world.stage("magnitude@imp"), lambda weights: weights[FIRST][0].zero_())


def another_width(world: World) -> None:
    """One neuron less than the units' masks keep."""

    def change(weights: dict) -> None:
        weights["fc1.weight"], weights["fc1.bias"] = weights["fc1.weight"][1:].clone(), weights["fc1.bias"][1:].clone()
        weights["fc2.weight"] = weights["fc2.weight"][:, 1:].clone()

    folder = world.stage("l1@finetune")
    edit_weights(folder, change)
    order = list(build("mlp", (1, 8, 8), 10, hidden=[16, 12]).state_dict())
    weights = load_file(folder / "weights.safetensors")
    digest = sha256(b"".join(name.encode() + weights[name].numpy().tobytes() for name in order)).hexdigest()
    edit_stage(folder, put("final_digest", digest))


@pytest.mark.parametrize(
    "tamper",
    [
        revive,
        a_row_of_zeros,
        another_width,
        lambda w: edit_weights(w.stage("rigl"), lambda weights: weights.update(mask=torch.ones(1))),
        lambda w: edit(w.record("l1@finetune"), lambda d: put("sparsity", "parameters", 1 + d["sparsity"]["kept"])(d)),
    ],
)
def test_weights(tamper, world):
    tamper(world)
    assert world.verify() == {"weights"}


def test_nesting(world):
    """A weight that was pruned on the first rung of imp is back on the second, in the place of another."""
    folder, before = world.stage("magnitude@imp", 0.75), world.stage("magnitude@imp", 0.5)
    outer = Masks.load(before / "masks.safetensors")[FIRST]
    inner = Masks.load(folder / "masks.safetensors")[FIRST]
    back, gone = tuple((~outer).nonzero()[0]), tuple(inner.nonzero()[0])

    def move(tensors: dict) -> None:
        tensors[FIRST][back], tensors[FIRST][gone] = tensors[FIRST][gone].clone(), tensors[FIRST][back].clone()

    edit_masks(folder, move)
    edit_weights(folder, move)
    assert world.verify() == {"nesting"}


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


def better_by_one(data: dict, dense: dict) -> None:
    """One hit more, with everything that follows from it."""
    counts = data["per_class"]
    worst = max(range(10), key=counts["fn"].__getitem__)
    counts["tp"][worst], counts["fn"][worst] = counts["tp"][worst] + 1, counts["fn"][worst] - 1
    counts["fp"] = [0] * 10
    data["metrics"] |= bias(counts, dense["per_class"])
    data["metrics"]["top1"] = sum(counts["tp"]) / 400
    data["metrics"]["worst_class"] = min(hit / n for hit, n in zip(counts["tp"], counts["n"], strict=True))


def test_measure(world):
    """A better accuracy that fits all other numbers is found out by measuring, and only by that."""
    dense = json.loads(world.record("dense").read_text())
    edit(world.record("str"), lambda data: better_by_one(data, dense))
    assert world.verify() == set()
    report = verify(world.store, measure=True)
    assert failed(report) == {"measure"}
    assert any(reason.startswith("measured top1 is") for check in report.failures for reason in check.reasons)


def test_measuring_elsewhere_allows_for_rounding_and_says_so(world):
    for path in (world.store / "records").iterdir():
        edit(path, put("provenance", "versions", "torch", "1.0"))
    edit(world.record("str"), lambda data: data["metrics"].update(nll=data["metrics"]["nll"] * 1.001))
    report = verify(world.store, measure=True)
    assert failed(report) == set()
    assert any("measured nll is" in note for note in report.notes), report.notes
    edit(world.record("str"), lambda data: data["metrics"].update(nll=data["metrics"]["nll"] * 1.1))
    assert world.verify(measure=True) == {"measure"}


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


@pytest.mark.parametrize("junk", [None, 1, "x", [], {}, [[]], {"x": {}}])
def test_no_value_of_another_form_goes_unnoticed_or_stops_the_others(junk, world, tmp_path):
    """Every field of a record and of ``stage.json`` in turn holds something else: reported, never an error."""
    small = World(tmp_path / "small")
    for method in ("dense", "snip@init+shuffle"):
        path, stage = world.record(method), world.stage(method)
        shutil.copytree(stage, small.store / "stages" / stage.name)
        (small.store / "records").mkdir(exist_ok=True)
        shutil.copy(path, small.store / "records")
    assert small.verify() == set()
    path, stage = small.record("snip@init+shuffle"), small.stage("snip@init+shuffle") / "stage.json"
    for file, ignored in ((path, RECORD_FREE), (stage, STAGE_FREE)):
        original = file.read_text()
        for key, value in json.loads(original).items():
            if key in ignored or value == junk:
                continue
            edit(file, put(key, junk), sign=False)
            if file == path:
                data = json.loads(file.read_text())
                file.write_text(json.dumps({**data, "digest": digest_of(data)}))
            assert small.verify(), f"{key} = {junk!r} in {file.name}"
        file.write_text(original)


RECORD_FREE = {"board", "board_version", "error", "digest", "recalibrated", "fingerprint", "collapsed", "flags"}
STAGE_FREE = {"label", "seconds", "wall_seconds", "score_seconds", "recalibrated", "initial_digest", "score_passes"}


def digest_of(data: dict) -> str:
    rest = {key: value for key, value in data.items() if key != "digest"}
    return sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@pytest.mark.parametrize("folder", ["nowhere", "empty", "foreign", "file", "hollow"])
def test_what_is_neither_store_nor_results_is_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "package.json").write_text("{}")
    (tmp_path / "file").write_text("")
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
