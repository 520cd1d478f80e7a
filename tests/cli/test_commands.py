"""The commands that work: listings, help, status, show, report, a run and its rerun."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sparsebench.cli.parser import KINDS, build
from sparsebench.record import Record

BOARD = """\
name: small
version: 1
title: Small board
tasks: [{base: digits-mlp, name: small-mlp, network_arguments: {hidden: [16, 12]}, recipe: {epochs: 2}}]
methods: [magnitude@finetune, random/erk@init]
sparsities: [0.5]
seeds: [0]
"""


@pytest.mark.parametrize("kind", KINDS)
def test_listings_are_valid_json(kind, sparsebench):
    code, out, _ = sparsebench("list", kind, "--json")
    rows = json.loads(out)
    assert code == 0
    assert rows
    assert all(row["name"] and row["summary"] and isinstance(row["arguments"], dict) for row in rows)


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_of_a_listing_names_all_of_it(kind, sparsebench):
    rows = json.loads(sparsebench("list", kind, "--json")[1])
    code, out, err = sparsebench("list", kind)
    assert (code, err) == (0, "")
    first_words = {line.split()[0] for line in out.splitlines() if line.startswith("  ")}
    assert {row["name"] for row in rows} <= first_words


@pytest.mark.parametrize("command", ["", *build()[1]])
def test_help_names_every_option(command, sparsebench):
    code, out, err = sparsebench(*command.split(), "--help")
    assert (code, err) == (0, "")
    parser, commands = build()
    for action in (commands[command] if command else parser)._actions:
        assert all(option in out for option in action.option_strings)
    if not command:
        assert all(name in out for name in commands)


def test_without_words_it_helps(sparsebench):
    code, out, _ = sparsebench()
    assert code == 0
    assert "usage: sparsebench" in out


def test_version(sparsebench):
    from importlib.metadata import version

    assert sparsebench("--version")[:2] == (0, f"sparsebench {version('sparsebench')}\n")


def test_status_of_a_board_that_has_not_begun(sparsebench, tmp_path):
    code, out, _ = sparsebench("status", "quick")
    assert code == 0
    assert "cells   0 of" in out
    assert "continue: sparsebench run quick" in out
    assert not list(tmp_path.iterdir()), "asking left something behind"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which the small board has run."""
    import os

    from sparsebench.cli import main

    folder, before = tmp_path_factory.mktemp("run"), Path.cwd()
    (folder / "small.yaml").write_text(BOARD)
    os.chdir(folder)
    try:
        assert main(["run", "small.yaml", "--launcher", "inline", "--accelerator", "cpu"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def ran(finished, tmp_path, sparsebench):
    """The command, in a copy of that folder."""
    import shutil

    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return sparsebench


def records(folder: Path) -> list[Path]:
    return sorted((folder / ".sparsebench" / "records").glob("*.json"))


def test_a_second_run_has_nothing_to_do(ran, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    code, out, err = ran("run", "small.yaml", "--launcher", "inline")
    assert (code, err) == (0, "")
    assert "3 cells done, nothing to do; leaderboard: results/small/leaderboard.md" in out
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before


def test_status_counts_what_is_done(ran, tmp_path):
    assert "cells   3 of 3 done" in ran("status", "small.yaml")[1]
    records(tmp_path)[0].unlink()
    out = ran("status", "small.yaml")[1]
    assert "cells   2 of 3 done" in out
    assert "1 cells to go" in out


def test_show_prints_a_record_by_the_beginning_of_its_id(ran, tmp_path):
    path = next(p for p in records(tmp_path) if Record.load(p).cell["method"] == "magnitude@finetune")
    code, out, _ = ran("show", path.stem[:12])
    assert code == 0
    for words in ("small-mlp", "magnitude@finetune", path.stem, "exact counts", "pass", "made by"):
        assert words in out
    assert "FAIL" not in out
    assert json.loads(ran("show", path.stem, "--json")[1]) == dict(Record.load(path).data)


def test_show_prints_the_fingerprint_of_a_method(sparsebench):
    code, out, _ = sparsebench("show", "snip@init+invert")
    assert code == 0
    for words in ("snip@init+invert", "10 a class", "train", "first in parameter order", "round(density * prunable)"):
        assert words in out
    said = json.loads(sparsebench("show", "magnitude/2:4@lrr(rate=0.5)", "--json")[1])
    assert said["method"] == "magnitude/2:4@lrr(rate=0.5)"
    assert said["count"].startswith("2 of every 4 inputs")
    assert said["regime_arguments"] == {"rate": 0.5}


def test_show_says_when_an_id_is_not_enough(ran, tmp_path):
    source = records(tmp_path)[0]
    ids = [f"{source.stem[:15]}{end}" for end in "xy"]
    for name in ids:
        Record({**Record.load(source).data, "cell_id": name}).save(source.with_name(f"{name}.json"))
    code, _, err = ran("show", source.stem[:15])
    assert code == 2
    assert "fits 3 records" in err
    assert "give more digits" in err
    assert all(name in err for name in ids)


def test_a_damaged_record_is_named_by_show_and_report_and_computed_again_by_run(ran, tmp_path):
    path = records(tmp_path)[0]
    published = next((tmp_path / "results").rglob(path.name))
    whole = Record.load(path).data["metrics"]
    for victim in (path, published):
        victim.write_text(victim.read_text()[:200])
    code, _, err = ran("show", path.stem)
    assert code == 1
    assert len(err.splitlines()) == 1
    assert path.name in err
    code, _, err = ran("report", "small.yaml", "--no-figures")
    assert (code, "Traceback" in err) == (0, False)
    assert path.name in (tmp_path / "results" / "small" / "leaderboard.md").read_text()
    code, _, err = ran("run", "small.yaml", "--launcher", "inline")
    assert code == 0
    assert f"{path.name}" in err
    assert "set aside" in err
    assert Record.load(path).data["metrics"] == Record.load(published).data["metrics"] == whole


def test_report_renders_the_same_page_from_the_records_alone(ran, tmp_path):
    page = tmp_path / "results" / "small" / "leaderboard.md"
    before = page.read_text()
    page.unlink()
    code, out, _ = ran("report", "small.yaml")
    assert code == 0
    assert "results/small/leaderboard.md" in out
    assert page.read_text() == before


def test_methods_and_files_join_the_rows_of_the_board(ran, tmp_path):
    (tmp_path / "mine.py").write_text(
        'from sparsebench import criterion\n\n\n@criterion(needs="weight")\n'
        'def joins_the_board(weight):\n    """Smallest first."""\n    return -weight.abs()\n'
    )
    code, out, _ = ran("run", "small.yaml", "--methods", "mine.py", "--launcher", "inline")
    assert code == 0
    assert "2 cells done, 2 jobs" in out
    page = (tmp_path / "results" / "small" / "leaderboard.md").read_text()
    assert all(name in page for name in ("joins_the_board@finetune", "magnitude@finetune", "random/erk@init"))


def test_a_reader_that_leaves_is_no_error(tmp_path):
    command = f"{sys.executable} -m sparsebench list methods | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.splitlines() == ["criteria:"]
    assert done.stderr == ""
