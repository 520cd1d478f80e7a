"""A report says its tables before it makes files, and the same once more without work where nothing has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sparsebench.report import again


@pytest.fixture
def folder(tmp_path) -> Path:
    """A board with one record, changed long enough ago to be told from its next change."""
    record = tmp_path / "results" / "m" / "0.json"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    return tmp_path / "results"


def reported(folder: Path, done: list[str]):
    def report(there, console):
        done.append("tables")
        console.print(f"{len(there)} records")

        def make() -> list[Path]:
            done.append("files")
            (folder / "page.md").write_text("page")
            return [folder / "page.md"]

        return make

    return report


def said(folder: Path, done: list[str], board: str = "b") -> list[str]:
    return list(again.said(folder, {"name": board}, [], folder.parent / "memory", reported(folder, done)))


def test_the_tables_are_said_before_the_files_are_made(folder):
    done: list[str] = []
    parts = again.said(folder, {"name": "b"}, [], folder.parent / "memory", reported(folder, done))
    assert next(parts) == "1 records\n"
    assert done == ["tables"]
    assert list(parts) == [f"{folder / 'page.md'}\n"]
    assert done == ["tables", "files"]


def test_nothing_is_done_twice_until_something_changes(folder, monkeypatch):
    monkeypatch.setattr("sparsebench.report.stamps.FRESH_SECONDS", 0)
    done: list[str] = []
    first = "".join(said(folder, done))
    assert "".join(said(folder, done)) == first
    assert len(done) == 2
    said(folder, done, board="another")
    assert len(done) == 4
    (folder / "page.md").write_text("touched by hand")
    said(folder, done)
    assert len(done) == 6
    os.utime(folder / "m" / "0.json")
    said(folder, done)
    assert len(done) == 8


def test_a_record_that_has_just_changed_is_not_trusted_to_stay(folder):
    done: list[str] = []
    said(folder, done)
    said(folder, done)
    assert len(done) == 4
