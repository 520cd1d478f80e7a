"""The commands that only read: right, quick and without torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sparsebench.cli import main
from sparsebench.cli.parser import KINDS, build


@pytest.mark.parametrize("kind", KINDS)
def test_listings_are_valid_json_and_the_text_names_the_same(kind, capsys):
    assert main(["list", kind, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) >= 1
    assert all(set(row) == {"part", "name", "summary", "arguments"} and row["summary"] for row in rows)
    assert main(["list", kind]) == 0
    text = capsys.readouterr().out
    assert all(row["name"] in text for row in rows)


@pytest.mark.parametrize("command", [[], *([name] for name in build()[1])])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    assert "usage: sparsebench" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["--help"], ["list", "methods"], ["list", "models"], ["list", "datasets"], ["status", "quick"]]
)
def test_reading_commands_do_not_import_torch(words, tmp_path):
    code = f"""
import sys
from sparsebench.cli import main
try:
    main({words!r})
except SystemExit:
    pass
print("torch" in sys.modules, "lightning" in sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, check=True)
    assert done.stderr.strip() == "False False"


def test_a_run_is_shown_reported_and_not_repeated(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [
        "run",
        "quick",
        "--tasks",
        "digits-mlp",
        "--methods",
        "random/erk@init",
        "--seeds",
        "0",
        "--launcher",
        "inline",
    ]
    words += ["--sparsities", "0.75"]
    assert main(words) == 0
    assert "2 cells done, 4 jobs" in capsys.readouterr().out
    assert main(words) == 0
    assert "2 cells done, nothing to do" in capsys.readouterr().out
    assert main(["status", "quick"]) == 0
    assert "cells   2 of 336 done" in capsys.readouterr().out
    assert main(["report", "quick", "--no-figures"]) == 0
    assert "results/quick/leaderboard.md" in capsys.readouterr().out
    record = next((tmp_path / "results" / "quick" / "dense").glob("*.json"))
    assert main(["show", record.stem[:8]]) == 0
    shown = capsys.readouterr().out
    assert "digits-mlp" in shown
    assert "exact counts" in shown
    assert main(["show", record.stem, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cell_id"] == record.stem
