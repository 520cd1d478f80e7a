"""A stage that raises, hangs, runs out of memory, fills a file or is killed costs its cells and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsebench.cli import main
from sparsebench.grid.store import Store
from tests.survival.workplace import Reader, board_text, content, held_locks, published, unfinished_files

TROUBLE = """
import multiprocessing, os, resource, signal, time
from contextlib import contextmanager
from pathlib import Path

import torch
from sparsebench import criterion

METHODS = {methods}
label = ""


def trouble():
    # At one sparsity, on the ranks that the file names; it is no part of the method, so names stay.
    file = Path(os.environ["TROUBLE"])
    return " 0.75 " in label and file.exists() and os.environ.get("RANK", "0") in file.read_text()


@contextmanager
def limited(kind, amount):
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (amount, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def memory_left(megabytes):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return limited(resource.RLIMIT_AS, used + (megabytes << 20))


@criterion(needs="weight")
def raises(weight):
    if trouble():
        raise ValueError("no scores\\nfor this weight")
    return weight.abs()


@criterion(needs="weight")
def starves(weight):
    if trouble():
        with memory_left(64):
            bytearray(1 << 30)
    return weight.abs()


@criterion(needs="weight")
def hungers(weight):
    if trouble():
        with memory_left(64):
            torch.empty(1 << 30)
    return weight.abs()


@criterion(needs="weight")
def hangs(weight):
    while trouble():
        time.sleep(0.1)
    return weight.abs()


@criterion(needs="weight")
def killed(weight):
    if trouble():
        os.kill(os.getpid(), signal.SIGKILL)
    return weight.abs()


@criterion(needs="weight")
def large(weight):
    return weight.abs()


def watch():
    import sparsebench.grid.stages as stages

    def run_stage(stage, *rest, plain=stages.run_stage):
        global label
        label = stage.label
        plain(stage, *rest)

    def save(state, store, plain=stages.save):
        if "large" in label and trouble():
            with limited(resource.RLIMIT_FSIZE, 1000):
                return plain(state, store)
        return plain(state, store)

    stages.save, stages.run_stage = save, run_stage


if multiprocessing.parent_process():  # a worker; the command itself imports this file too
    watch()
"""
WHY = {
    "hungers@init": "RuntimeError: [enforce fail",
    "starves@init": "MemoryError",
    "hangs@init": "took longer than --time-limit 6 s and was stopped",
    "killed@init": "the worker process died (exit code -9); out of memory or killed",
    "large@init": "OSError: [Errno 27] File too large",
    "raises@init": "ValueError: no scores for this weight",
}
"""Method -> how its error begins."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("options", "troubled", "methods"),
    [
        pytest.param(("--workers", "1"), "0", tuple(WHY), id="one"),
        pytest.param(
            ("--workers", "1", "--devices", "2"),
            "1",  # the second rank only; files are the first one's
            tuple(name for name in WHY if "large" not in name),
            id="ddp",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_trouble_stays_with_its_cells(folder, monkeypatch, capsys, options, troubled, methods):
    monkeypatch.setenv("TROUBLE", str(folder / "trouble"))
    text = board_text("magnitude@init", sparsities=(0.5, 0.75))
    Path("small.yaml").write_text(text)
    Path("trouble.py").write_text(TROUBLE.format(methods=[*methods, "magnitude@finetune"]))
    Path("trouble").write_text(troubled)
    command = ["run", "small.yaml", "--methods", "trouble.py", "--time-limit", "6", *options]

    with Reader(".sparsebench") as reader:
        assert main(command) == 1
    assert reader.faults == []
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    cells = published()
    failed = {(r.cell["method"], r.cell["sparsity"]): r.data["error"] for r in cells.values() if not r.ok}
    assert failed.keys() == {(method, 0.75) for method in methods}
    for (method, _), error in failed.items():
        assert error.startswith(WHY[method])
        assert "\n" not in error
        assert error in said.err
    assert {cell for cell, record in cells.items() if record.ok} == Store(".sparsebench").done_cells()
    others = {(method, 0.5) for method in methods} | {("magnitude@finetune", s) for s in (0.5, 0.75)} | {("dense", 0)}
    assert {(r.cell["method"], r.cell["sparsity"]) for r in cells.values() if r.ok} == others
    page = Path("results/small/leaderboard.md").read_text()
    assert "failed" in page
    assert held_locks() == []
    assert unfinished_files(".") == []

    Path("trouble").unlink()
    assert main(command) == 0
    assert "nothing to do" not in capsys.readouterr().out
    assert all(record.ok for record in published().values())
    assert not Path(".sparsebench/damaged").exists()
    assert main([*command, "--store", "undisturbed", "--results", "undisturbed/results"]) == 0
    assert content(".sparsebench") == content("undisturbed")
