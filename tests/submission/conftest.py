"""A method of a user's own, its records on a small board, and its submission, to look at and to tamper with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sparsebench.grid.stages as stages
from sparsebench.grid import board as boards
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context
from sparsebench.grid.run import publish, run
from sparsebench.record import Record, record_path
from sparsebench.submission import rows
from sparsebench.submission.card import card
from sparsebench.submission.code import registered
from sparsebench.submission.gather import Entry, submit
from sparsebench.submission.manifest import README, TABLE, Manifest, digests
from sparsebench.verify.names import cell_name

METHOD = "mine_of_the_tests@finetune"
FILE = '''"""Mine: magnitude to a power."""

from sparsebench import criterion


@criterion(needs="weight", floor=1)
def mine_of_the_tests(weight, *, power: float = 2.0):
    """score = |w|^power"""
    return weight.abs() ** power
'''
BOARD = """
name: small
version: 2
title: Small board
tasks:
  - {base: digits-mlp, name: small-mlp, network_arguments: {hidden: [16, 12]}, recipe: {epochs: 2, mask_every: 4}}
methods: [magnitude@finetune]
sparsities: [0.5, 0.75]
seeds: [0, 1]
"""


@pytest.fixture(scope="session")
def ran(tmp_path_factory) -> Path:
    """A folder with the file, the board and clean records of all six cells. Not to be changed."""
    folder, made_by = tmp_path_factory.mktemp("ran"), stages.provenance
    (folder / "mine.py").write_text(FILE)
    (folder / "small.yaml").write_text(BOARD)
    context = Context(str(folder / ".sparsebench"), Hardware(), "test", (str(folder / "mine.py"),))
    with pytest.MonkeyPatch.context() as patch, registered(folder / "mine.py"):
        patch.setattr(stages, "provenance", lambda *a, **k: made_by(*a, **k) | {"commit": "c" * 40, "dirty": False})
        board = boards.load(str(folder / "small.yaml")).narrowed([METHOD])
        result = run(board, context, 1, launcher="inline")
        assert not result.failed
        publish(board, result, folder / "results")
    return folder


def entry(folder: Path, **changes: Any) -> Entry:
    return replace(Entry("mine", (METHOD,), folder / "mine.py", typed="mine.py"), **changes)


@pytest.fixture(scope="session")
def submitted(ran, tmp_path_factory) -> Path:
    """The submission's folder. Not to be changed."""
    to = tmp_path_factory.mktemp("submissions")
    return submit(entry(ran), str(ran / "small.yaml"), ran / "results", to)[0]


@pytest.fixture
def folder(submitted, tmp_path) -> Path:
    """A copy to tamper with."""
    return Path(shutil.copytree(submitted, tmp_path / submitted.name))


def record(folder: Path, sparsity: float = 0.5, seed: int = 0) -> Path:
    """The file of a record; sparsity 0 is the dense row's."""
    for path in sorted(folder.rglob("*.json")):
        cell = json.loads(path.read_text()).get("cell")
        if cell and (cell["sparsity"], cell["seed"]) == (sparsity, seed):
            return path
    raise LookupError(sparsity)


def edit(path: Path, change: Callable[[dict], Any]) -> None:
    """Change a record's numbers, and its digest with them."""
    data = json.loads(path.read_text())
    change(data)
    Record(data).save(path)


def rename(path: Path) -> Path:
    """Give a record the id of its settings, in its name and in its place."""
    data = json.loads(path.read_text())
    data["cell_id"] = cell_name(data)
    path.unlink()
    results = path.parents[2]
    return Record(data).save(record_path(results, data["board"], data["cell"]["method"], data["cell_id"]))


def cover_up(folder: Path) -> None:
    """Table, page and digests as they would be had the records always been so: the work of a careful forger."""
    found = [Record(json.loads(path.read_text())) for path in sorted((folder / "results").rglob("*.json"))]
    table = rows.rows(found)
    (folder / TABLE).write_text(rows.csv(table))
    manifest = Manifest.load(folder)
    (folder / README).write_text(card(manifest, rows.markdown(table), found[0].data["provenance"]))
    replace(manifest, files=digests(folder)).save(folder)
