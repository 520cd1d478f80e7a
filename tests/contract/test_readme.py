"""What the README and the docs print can be typed: Python blocks run, commands parse, and one method file runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from sparsebench.cli import main, parser
from sparsebench.grid.board import from_text
from sparsebench.registry import criterion, modifier, regime

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_OURS = ("pip ", "pytest", "ruff", "tox")


class Block(NamedTuple):
    page: str
    line: int
    language: str
    text: str


def blocks(language: str) -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            if match[1] == language:
                found.append(Block(page.name, text[: match.start()].count("\n") + 1, language, match[2]))
    return found


def commands() -> list[str]:
    """Every command of the shell blocks, those joined by && apart."""
    lines = [line.strip() for block in blocks("sh") for line in block.text.splitlines()]
    parts = [part.strip() for line in lines if line and not line.startswith("#") for part in line.split("&&")]
    return [part for part in dict.fromkeys(parts) if not part.startswith(NOT_OURS)]


@pytest.fixture
def registries():
    """Forget what a block registered, so that blocks do not meet each other."""
    kinds = (criterion, regime, modifier)
    before = [(dict(kind._live), dict(kind._added)) for kind in kinds]
    yield
    for kind, (live, added) in zip(kinds, before, strict=True):
        kind._live.clear()
        kind._live.update(live)
        kind._added.clear()
        kind._added.update(added)


def test_there_is_something_to_test():
    assert len(commands()) >= 5
    assert len(blocks("python")) >= 5
    assert [b.page for b in blocks("yaml")] == ["README.md"]


@pytest.mark.parametrize("block", blocks("python"), ids=lambda b: f"{b.page}:{b.line}")
def test_python_blocks_run(block, tmp_path, monkeypatch, registries):
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, f"{block.page}:{block.line}", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("command", commands())
def test_commands_parse(command):
    program, *words = shlex.split(command)
    assert program == "sparsebench", f"a command of another program: {command!r}"
    arguments = parser.parse(words)
    assert arguments.command == words[0]


@pytest.mark.parametrize("command", [c for c in commands() if c.split()[1] in ("list", "status")])
def test_reading_commands_run(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)[1:]) == 0
    assert capsys.readouterr().out


def test_the_readmes_method_file_runs(tmp_path, monkeypatch, capsys, registries):
    monkeypatch.chdir(tmp_path)
    block = next(b for b in blocks("python") if b.page == "README.md" and "@criterion" in b.text)
    (tmp_path / "my_method.py").write_text(block.text)
    words = next(c for c in commands() if "--methods my_method.py" in c).split()[1:]
    part = ["--tasks", "digits-mlp", "--seeds", "0", "--sparsities", "0.75", "--launcher", "inline"]
    assert main([*words, *part]) == 0
    assert "2 cells done" in capsys.readouterr().out


def test_the_readmes_board_is_one():
    board = from_text(blocks("yaml")[0].text, "README.md")
    assert len(board.cells) >= 6
