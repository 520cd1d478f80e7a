"""Server: imports the heavy libraries once, then forks a child for every run of tests on a copy of the package.

    python server.py        reads requests, one JSON object a line, and answers each with one

Request: ``folder`` (a copy, see sandbox.py), ``tests`` (node ids) and ``seconds`` (time limit).
Answer: ``code`` (pytest's exit code, None if the time was up), ``outcomes`` (node id -> outcome, with the type of the
exception where one was raised) and ``text`` (the end of pytest's output).
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path

import pytest

HEAVY = (
    "lightning.pytorch",
    "matplotlib.figure",
    "onnx",
    "pandas",
    "safetensors.torch",
    "scipy.stats",
    "sklearn.datasets",
    "sklearn.metrics",
    "torch",
    "torch_pruning",
    "torchmetrics.functional.classification",
    "torchvision",
)
"""What the package and its tests import, but not the package: each child imports its own copy."""


def preload() -> None:
    for name in HEAVY:
        with contextlib.suppress(ModuleNotFoundError):
            import_module(name)
    sys.modules["torch"].set_num_threads(1)
    if "sparsebench" in sys.modules:
        raise SystemExit("the server has imported sparsebench: children would not see their own copy")


class Outcomes:
    """A pytest plugin that notes how each test ended."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed:
            kind = "failed" if report.when == "call" else "error"
            self.found[report.nodeid] = f"{kind} {getattr(report, 'raised', '')}".strip()
        elif report.when == "call":
            self.found[report.nodeid] = report.outcome

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call):
        """Add the name of the exception to the report."""
        report = yield
        report.raised = call.excinfo.type.__name__ if call.excinfo else ""
        return report


def child(folder: Path, tests: list[str]) -> int:
    """Run tests in a copy; nothing of the package may come from elsewhere."""
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    sys.path[:] = [str(folder), *(p for p in sys.path if p not in ("", str(Path(__file__).parent)))]
    outcomes = Outcomes()
    code = int(pytest.main(["--rootdir", str(folder), "-c", str(folder / "pyproject.toml"), *tests], [outcomes]))
    strangers = [
        str(module.__file__)
        for name, module in sys.modules.items()
        if name.split(".")[0] == "sparsebench"
        and getattr(module, "__file__", None)
        and not Path(module.__file__).is_relative_to(folder)
    ]
    answer = {"outcomes": outcomes.found, "strangers": strangers}
    answer_file(folder).write_text(json.dumps(answer))
    return code


def answer_file(folder: Path) -> Path:
    """Beside the copy: what a copy holds is shared with others."""
    return folder.with_name(f"{folder.name}.json")


def fork(folder: Path, tests: list[str], seconds: float) -> dict:
    """One run of tests in a process of its own."""
    output = folder.with_name(f"{folder.name}.txt")
    answer_file(folder).unlink(missing_ok=True)
    process = os.fork()
    if process == 0:
        os.setsid()  # so that it can be stopped together with what its tests started
        with open(os.devnull) as nothing, output.open("w") as file:
            os.dup2(nothing.fileno(), 0)  # requests are not for the tests to read
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        try:
            code = child(folder, tests)
        except BaseException:
            traceback.print_exc()
            code = 70
        sys.stdout.flush()
        os._exit(code)
    code = wait(process, seconds)
    answer = {"outcomes": {}, "strangers": []}
    if answer_file(folder).exists():
        answer = json.loads(answer_file(folder).read_text())
    return answer | {"code": code, "text": output.read_text(errors="replace")[-4000:]}


def wait(process: int, seconds: float) -> int | None:
    """The exit code of a child, or None after it was stopped because its time was up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def serve() -> None:
    preload()
    gc.freeze()  # the collections at the end of every child need not walk through all of this
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(fork(Path(request["folder"]), request["tests"], request["seconds"])), flush=True)


if __name__ == "__main__":
    serve()
    os._exit(0)  # some of the libraries complain when they are taken down
