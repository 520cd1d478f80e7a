"""Runner: is a mutant killed by the tests it names?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECONDS = 120.0
"""Longest run of the tests of one mutant."""
BROKEN = ("NameError", "UnboundLocalError", "ImportError", "ModuleNotFoundError", "AttributeError", "TypeError")
"""Exceptions that speak of a mutant that is badly written, not of a test that saw what it did."""


@dataclass(frozen=True)
class Run:
    """What came of some tests in one copy of the package."""

    code: int | None
    outcomes: dict[str, str]
    strangers: list[str]
    """Modules of the package that were not the copy's."""
    text: str

    @property
    def verdict(self) -> str:
        """``survived``, ``killed``, or what kept the run from telling.

        >>> Run(1, {"a.py::test": "failed AssertionError"}, [], "").verdict
        'killed'
        >>> Run(4, {}, [], "").verdict
        'no verdict: pytest ended with 4'
        """
        if self.strangers:
            return f"no verdict: not the copy was tested but {self.strangers[0]}"
        if self.code == 0 and set(self.outcomes.values()) == {"passed"}:
            return "survived"
        if self.code != 1:
            return f"no verdict: pytest ended with {self.code}"
        odd = [f"{test} {how}" for test, how in self.outcomes.items() if how.startswith("error") or how == "skipped"]
        odd += [f"{test} {how}" for test, how in self.outcomes.items() if how.split()[-1] in BROKEN]
        return f"no verdict: {odd[0]}" if odd else "killed"

    def without_failure(self, tests: Iterable[str]) -> list[str]:
        """Those of the node ids of which no test failed."""
        failed = [name for name, how in self.outcomes.items() if how.startswith("failed")]
        return [test for test in tests if not any(name == test or name.startswith(f"{test}[") for name in failed)]


class Server:
    """The process that forks a child for every run."""

    def __init__(self, process: subprocess.Popen):
        self._process = process

    def run(self, folder: Path, tests: Iterable[str], seconds: float = SECONDS) -> Run:
        """Run tests in a copy."""
        request = {"folder": str(folder), "tests": list(tests), "seconds": seconds}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the server that runs the mutants has ended with {self._process.wait()}")
        return Run(**json.loads(answer))


@contextmanager
def server() -> Iterator[Server]:
    """A server with everything imported that takes time; one thread, since cores are shared."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("server.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **threads, "CUDA_VISIBLE_DEVICES": ""},
    )
    try:
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"the server that runs the mutants did not start: exit code {process.wait()}")
        yield Server(process)
    finally:
        process.stdin.close()
        process.wait()
