"""Workplace: a folder with a board and a diary of its workers, runs that can be killed, stores that are compared."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparsebench.agreement import reproducible
from sparsebench.grid.board import from_text
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context
from sparsebench.grid.run import run
from sparsebench.grid.store import Store
from sparsebench.record import Record

RECIPE = "recipe: {{epochs: {0}, mask_every: 4}}"
MLP = "{{base: digits-mlp, name: mlp, network_arguments: {{hidden: [16, 12]}}, " + RECIPE + "}}"
RESNET = "{{base: digits-resnet8, name: resnet, network_arguments: {{width: 4}}, " + RECIPE + "}}"
CLOCKS = {"seconds", "wall_seconds", "score_seconds", "peak_memory_mb"}


def board_text(*methods: str, tasks: tuple[str, ...] = (MLP.format(4),), sparsities=(0.5,), seeds=(0,)) -> str:
    """A board's YAML."""
    rows = {
        "name": "small",
        "version": 1,
        "title": "Small board",
        "methods": json.dumps(methods),
        "tasks": f"[{', '.join(tasks)}]",
        "sparsities": list(sparsities),
        "seeds": list(seeds),
    }
    return "".join(f"{key}: {value}\n" for key, value in rows.items())


def undisturbed(text: str, store: Path, method_files: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a board gives when nothing happens, see ``content``."""
    result = run(
        from_text(text, "small.yaml"), Context(str(store), Hardware(), "test", method_files), 1, launcher="inline"
    )
    assert not result.failed
    return content(store)


def content(store: str | Path) -> dict[str, Any]:
    """All of a store that must come out again bit for bit: records, stage reports, digests of weights and masks."""
    store = Store(store)
    reports = {name: store.stage_report(name) for name in store.done_stages()}
    return {
        "records": {cell: reproducible(store.record(cell).data) for cell in store.done_cells()},
        "stages": {name: {k: v for k, v in report.items() if k not in CLOCKS} for name, report in reports.items()},
    }


def start(*options: str, board: str = "small.yaml") -> subprocess.Popen:
    """``sparsebench run`` as the leader of its own session, saving a checkpoint after every epoch."""
    command = [sys.executable, "-m", "sparsebench", "run", board, "--checkpoint-seconds", "0", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A test run in the background inherits that Ctrl-C is ignored; a user's shell does not say so.
    hear = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, **pipes, start_new_session=True, preexec_fn=hear)


def wait_for(condition: Callable[[], Any], seconds: float = 180) -> Any:
    """What the condition gives, once that is true."""
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.005)
    return found


def alive(session: int) -> bool:
    """Whether any process of a run is left."""
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


def training(store: str | Path = ".sparsebench") -> bool:
    """Whether a training is under way."""
    return any(Path(store).glob("stages/*/checkpoint.ckpt"))


def held_locks(store: str | Path = ".sparsebench") -> list[str]:
    """Locks that some process holds."""
    held = []
    for path in Path(store).glob("locks/*.lock"):
        with open(path, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(path.stem)
    return held


def published(results: str | Path = "results") -> dict[str, Record]:
    """Records of a results folder by cell id."""
    return {record.data["cell_id"]: record for record in map(Record.load, Path(results).rglob("*.json"))}


def unfinished_files(folder: str | Path) -> list[Path]:
    """What a write that did not come to its end has left."""
    return [path for path in Path(folder).rglob("*") if path.suffix == ".tmp"]


class Reader(threading.Thread):
    """Loads every record and stage of a store, again and again, as a report or a second run would.

    ``faults`` holds what could not be read although its name was there.
    """

    def __init__(self, store: str | Path):
        super().__init__(daemon=True)
        self.store, self.faults, self.loads = Store(store), [], 0
        self._stop_now = threading.Event()

    def run(self) -> None:
        while not self._stop_now.wait(0.02):
            for load, names in (
                (self.store.stage_report, self.store.done_stages()),
                (self.store.record, self.store.done_cells()),
            ):
                for name in names:
                    self.loads += 1
                    try:
                        load(name)
                    except Exception as error:
                        self.faults.append(f"{name}: {error}")

    def __enter__(self) -> Reader:
        self.start()
        return self

    def __exit__(self, *error) -> None:
        self._stop_now.set()
        self.join()
