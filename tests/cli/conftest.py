"""The command in this process: its exit code, output and errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sparsebench.cli import main


@pytest.fixture
def sparsebench(tmp_path, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """``sparsebench("list", "methods")`` in an empty folder -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def command(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code or 0
        said = capsys.readouterr()
        return code, said.out, said.err

    return command
