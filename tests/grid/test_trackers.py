"""What loggers are told, read back by their own readers, and that telling them changes nothing."""

from __future__ import annotations

import csv

import pytest

from sparsebench.agreement import reproducible
from sparsebench.errors import UsageError
from sparsebench.grid import trackers
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.store import Store
from tests.grid.conftest import run_inline, tiny_board

METHODS = ("magnitude@finetune", "magnitude@gmp")


@pytest.fixture(autouse=True)
def nothing_is_out_of_order(monkeypatch):
    monkeypatch.setattr(trackers, "_out_of_order", set())


def run(folder, *loggers: str, methods=METHODS):
    board = tiny_board(*methods)
    result = run_inline(board, folder, loggers=loggers, logs=str(folder / "logs"))
    assert not result.failed
    return board, result


@pytest.fixture(scope="module")
def silent(tmp_path_factory):
    return run(tmp_path_factory.mktemp("silent"))[1]


def numbers(result) -> dict:
    return {cell: reproducible(record.data) for cell, record in result.records.items()}


def same_numbers(a, b) -> bool:
    return numbers(a) == numbers(b)


def test_tensorboard_has_the_curves_of_stages_and_the_numbers_of_cells(tmp_path, silent):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board, result = run(tmp_path, "tensorboard")
    assert same_numbers(result, silent)
    seen = {}
    for file in (tmp_path / "logs").rglob("events.*"):
        reader = events.EventAccumulator(str(file.parent)).Reload()
        seen[file.parent.name] = {tag: reader.Scalars(tag) for tag in reader.Tags()["scalars"]}
    store = Store(tmp_path)
    for stage in store.done_stages():
        report = store.stage_report(stage)
        (name,) = (name for name in seen if name.endswith(stage[:8]))
        assert [e.value for e in seen[name]["loss"]] == pytest.approx(report["losses"])
        assert [e.step for e in seen[name]["loss"]] == list(range(1, len(report["losses"]) + 1))
        assert seen[name]["val_top1"][-1].value == pytest.approx(report["val_top1"])
        if "@gmp" in name:
            rising = [e.value for e in seen[name]["sparsity"]]
            assert rising == sorted(rising)
            assert rising[-1] == pytest.approx(0.75, abs=1e-3)
    for cell in board.cells:
        (name,) = (name for name in seen if name.endswith(cell.id[:8]))
        assert cell.method.name in name
        assert seen[name]["metrics/top1"][-1].value == pytest.approx(result.records[cell.id].data["metrics"]["top1"])
        assert "metrics/corrupted" in seen[name]


def test_csv(tmp_path, silent):
    _, result = run(tmp_path, "csv")
    assert same_numbers(result, silent)
    files = sorted((tmp_path / "logs").rglob("metrics.csv"))
    assert len(files) == len(Store(tmp_path).done_stages()) + len(result.records)
    rows = [list(csv.DictReader(file.read_text().splitlines())) for file in files]
    assert any("loss" in row[0] for row in rows)
    assert any(row[-1].get("metrics/top1") for row in rows)


def test_mlflow_in_a_folder(tmp_path, silent, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    board, result = run(tmp_path, "mlflow")
    assert same_numbers(result, silent)
    client = mlflow.MlflowClient((tmp_path / "logs" / "mlruns").resolve().as_uri())
    (experiment,) = client.search_experiments(filter_string="name = 'sparsebench'")
    found = client.search_runs([experiment.experiment_id])
    assert len(found) == len(Store(tmp_path).done_stages()) + len(board.cells)
    assert {one.info.status for one in found} == {"FINISHED"}
    for cell in board.cells:
        (one,) = (one for one in found if one.data.params.get("cell") == cell.id)
        assert one.data.metrics["metrics/top1"] == pytest.approx(result.records[cell.id].data["metrics"]["top1"])
        assert one.data.params["method"] == cell.method.name


def test_wandb_offline(tmp_path, silent, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("HOME", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    _, result = run(tmp_path, "wandb", methods=())
    assert numbers(result).items() <= numbers(silent).items()
    runs = list((tmp_path / "logs" / "wandb").glob("offline-run-*"))
    assert len(runs) == 2
    assert all(list(folder.glob("*.wandb")) for folder in runs)


def test_a_logger_that_fails_costs_nothing_and_is_warned_of_once(tmp_path, silent, monkeypatch, capsys):
    def broken(tracker):
        raise OSError("no route to host")

    monkeypatch.setitem(trackers.OPEN, "csv", broken)
    _, result = run(tmp_path, "csv")
    assert same_numbers(result, silent)
    said = capsys.readouterr().err
    assert said.count("logger csv left out from here on: OSError: no route to host") == 1


def test_long_trainings_are_written_while_they_run(tmp_path, monkeypatch):
    monkeypatch.setattr(trackers, "HOLD_SECONDS", -1.0)
    tracker = trackers.Tracker("stage", "title", "task", {}, Hardware(loggers=("csv",), logs=str(tmp_path)))
    written = []

    class Listening:
        def log_metrics(self, metrics, step):
            written.append((metrics, step))

    monkeypatch.setitem(trackers.OPEN, "csv", lambda tracker: Listening())
    tracker.log({"loss": 2.0, "sparsity": None}, 1)
    tracker.log({"loss": 1.0}, 2)
    assert written == [({"loss": 2.0}, 1), ({"loss": 1.0}, 2)]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["tensorbord"], "unknown logger 'tensorbord': did you mean 'tensorboard'"),
        (["none", "csv"], "none goes with no other"),
        (["wandb"], r"the package wandb is not installed; pip install 'sparsebench\[tracking\]'"),
    ],
)
def test_what_is_refused(asked, message, monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=message):
        trackers.choose(asked)


def test_the_default_is_tensorboard_where_it_is_installed(monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: object())
    assert trackers.choose(None) == ("tensorboard",)
    assert trackers.choose(["csv", "mlflow", "csv"]) == ("csv", "mlflow")
    assert trackers.choose(["none"]) == ()
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    assert trackers.choose(None) == ()
