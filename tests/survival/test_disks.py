"""Disks that are full or read-only, before a run and in the middle of one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sparsebench.cli import main
from sparsebench.cli.display import Display
from sparsebench.grid.store import Store
from tests.survival.conftest import fill, remount
from tests.survival.workplace import (
    MLP,
    Reader,
    board_text,
    content,
    published,
    undisturbed,
    unfinished_files,
    wait_for,
)

TEXT = board_text("magnitude@init", "magnitude@finetune", "random@init", tasks=(MLP.format(2),))


@pytest.fixture
def expected(folder) -> dict:
    (folder / "small.yaml").write_text(TEXT)
    return undisturbed(TEXT, folder / "undisturbed")


def run(*options: str) -> int:
    return main(["run", "small.yaml", "--workers", "1", *options])


def when_one_cell_is_done(monkeypatch, store: Path, act) -> list[str]:
    """Call ``act`` once, in the middle of a run; the cells that were done then."""
    done = []

    def update(self, progress):
        if not done and Store(store).done_cells():
            act()
            done.extend(Store(store).done_cells())

    monkeypatch.setattr(Display, "update", update)
    return done


def failures(text: str, capsys) -> None:
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    assert text in said.err
    bad = [record for record in published().values() if not record.ok]
    assert bad
    assert all(text in record.data["error"] for record in bad)


def test_a_store_that_fills_up(disk, expected, monkeypatch, capsys):
    place = disk("8m")
    store = place / "store"
    done = when_one_cell_is_done(monkeypatch, store, lambda: fill(place))
    with Reader(store) as reader:
        assert run("--store", str(store)) == 1
    assert reader.faults == []
    failures("No space left on device", capsys)
    assert set(done) <= Store(store).done_cells() < expected["records"].keys()
    assert unfinished_files(store) == []

    (place / "ballast").unlink()
    assert run("--store", str(store)) == 0
    assert content(store) == expected
    assert not Store(store).aside.exists()


def test_a_store_that_becomes_read_only(disk, expected, monkeypatch, capsys):
    place = disk("8m")
    store = place / "store"
    # Refused while a worker writes; between two jobs none does.
    done = when_one_cell_is_done(monkeypatch, store, lambda: wait_for(lambda: remount(place, "ro")))
    assert run("--store", str(store)) == 1
    failures("Read-only file system", capsys)
    assert set(done) <= Store(store).done_cells() < expected["records"].keys()

    assert run("--store", str(store)) == 2, "refused before work"
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"sparsebench: store {store} cannot be written (Read-only file system); choose another with --store"

    assert remount(place, "rw")
    assert run("--store", str(store)) == 0
    assert content(store) == expected


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes wherever it likes")
def test_a_store_without_permission_is_refused(folder, capsys):
    Path("small.yaml").write_text(TEXT)
    Path("store").mkdir(mode=0o500)
    assert run("--store", "store/below") == 2
    assert "cannot be written (Permission denied)" in capsys.readouterr().err


def test_results_that_cannot_be_written(disk, expected, capsys):
    """The work is not lost: records are in the store, and the same command publishes them."""
    place = disk("1m")
    fill(place)
    assert run("--results", str(place / "results")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sparsebench: {place / 'results' / 'small'}")
    assert "No space left on device" in line
    assert line.endswith("the records are in the store .sparsebench: make space and give the same command again")
    assert content(".sparsebench") == expected
    assert unfinished_files(place) == []
    published(place)  # each of them is whole

    (place / "ballast").unlink()
    assert run("--results", str(place / "results")) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert published(place).keys() == expected["records"].keys()
