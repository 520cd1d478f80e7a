"""README.md and docs/ keep their word: commands are understood and run, Python runs and prints what it says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import sparsebench
from sparsebench.cli import main
from sparsebench.cli.parser import parse
from sparsebench.cli.run import read_methods
from sparsebench.grid import board as boards
from sparsebench.papers import recipe as recipes

ROOT = Path(sparsebench.__file__).parent.parent
PAGES = {page.name: page for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if page.exists()}
TEXTS = {name: page.read_text(encoding="utf-8") for name, page in PAGES.items()}
pytestmark = pytest.mark.skipif("README.md" not in PAGES, reason="an installed package has no pages beside it")

NOT_OURS = {"pip", "pytest", "tox", "git", "cd", "export", "tensorboard", ".ci/run"}
RUNS = {"run", "list", "show", "status", "--help", "--version"}
"""What is run for real, ``run`` reduced to seconds; other commands need what an earlier one left and are parsed."""


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXTS[page], re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    """Every command of the ``sh`` blocks and every whole one in backticks."""
    lines = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    words = [part.split("#")[0].strip() for line in lines for part in re.split(r"&&|\|", line)]
    words += re.findall(r"`(sparsebench (?:run|status|report|list) [^`|]+)`", TEXTS[page])
    return sorted({word.removeprefix("$ ") for word in words if word})


EVERY = [(page, command) for page in PAGES for command in commands(page)]


def named_files(page: str) -> dict[str, str]:
    """Files that a page tells its reader to write: the block after "Write `name`:", and the board."""
    files = dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)^```", TEXTS[page], re.MULTILINE | re.DOTALL))
    board = blocks(page, "yaml")
    return files | ({"my_board.yaml": board[0]} if board else {})


@pytest.fixture
def reader(tmp_path, monkeypatch) -> Path:
    """An empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_files(page: str, folder: Path) -> None:
    for name, text in named_files(page).items():
        (folder / name).write_text(text)


def test_there_is_something_to_keep():
    ours = [c for c in commands("README.md") if c.startswith("sparsebench")]
    assert any(c.startswith("sparsebench run quick") for c in ours)
    assert any("my_method.py" in c for c in ours)
    assert {"my_method.py", "my_board.yaml"} <= named_files("README.md").keys()
    assert len(blocks("README.md", "python")) >= 2


@pytest.mark.parametrize(("page", "command"), EVERY)
def test_a_command_is_understood(page, command, reader):
    write_files(page, reader)
    program, *words = shlex.split(command)
    assert program in NOT_OURS | {"sparsebench"}, f"{program}: neither ours nor in the list of others"
    if program != "sparsebench" or {"--help", "--version"} & set(words):
        return
    arguments = parse(words)
    methods, _ = read_methods(getattr(arguments, "methods", None))
    if board := getattr(arguments, "board", None):
        mine = recipes.load(board).board("smoke") if board in recipes.names() else boards.load(board)
        mine.narrowed(methods, getattr(arguments, "tasks", None))


def reduced(command: str) -> list[str]:
    """A run of the same kind that takes seconds: one task, one seed, one sparsity, one method."""
    words = shlex.split(command)[1:]
    if words[0] != "run":
        return words
    board = boards.load(words[1])
    words += ["--launcher", "inline", "--seeds", "0", "--sparsities", str(board.sparsities[-1])]
    words += [] if "--tasks" in words else ["--tasks", board.tasks[0].name]
    return words if "--methods" in words else [*words, "--methods", board.methods[-1].name]


@pytest.mark.parametrize(
    ("page", "command"), [(p, c) for p, c in EVERY if c.startswith("sparsebench ") and c.split()[1] in RUNS]
)
def test_a_command_runs(page, command, reader, capsys):
    write_files(page, reader)
    assert main(reduced(command)) == 0, capsys.readouterr().err


def scripts() -> list:
    """The Python of every page; all but the README's is slow: each block imports Lightning in a process of its own."""
    return [
        pytest.param(text, id=f"{page}-{i}", marks=() if page == "README.md" else pytest.mark.slow)
        for page in PAGES
        for i, text in enumerate(blocks(page, "python"))
    ]


@pytest.mark.parametrize("text", scripts())
def test_python_runs_and_prints_what_its_comments_say(text, tmp_path):
    (tmp_path / "block.py").write_text(text)
    run = [sys.executable, "-W", "ignore", "block.py"]
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    for promised in re.findall(r"^print\(.*\)  # (.+)$", text, re.MULTILINE):
        assert promised in done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_linked_files_exist(page):
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", TEXTS[page]):
        assert (PAGES[page].parent / link).exists(), f"{page} links to {link}"
