"""Diary: what workers note of their trainings, and what the notes must say whatever was killed when."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SPY = """
import multiprocessing
import os

METHODS = {methods}
now = None


def note(*words):
    with open(os.environ["DIARY"], "a") as file:
        file.write(" ".join(map(str, (os.getsid(0), os.getpid(), *words))) + "\\n")


def watch():
    import sparsebench.grid.finish as finish
    import sparsebench.grid.perform as perform
    import sparsebench.grid.stages as stages
    from sparsebench.grid.watch import LossCurve

    def train(state, phase, data, checkpoint, *rest, plain=perform.train):
        global now
        now = state.stage.id
        if (checkpoint.parent / "stage.json").exists():
            note("begin", now, "stored")
        else:
            note("begin", now, "resumed" if checkpoint.exists() else "fresh")
        plain(state, phase, data, checkpoint, *rest)
        note("end", now)

    def save(state, store, plain=stages.save):
        plain(state, store)
        note("stored", state.stage.id)

    def finish_cell(job, *rest, plain=finish.finish_cell):
        plain(job, *rest)
        note("cell", job.id)

    def epoch(self, trainer, module, plain=LossCurve.on_train_epoch_end):
        plain(self, trainer, module)
        note("epoch", now, trainer.current_epoch)

    perform.train, stages.save, finish.finish_cell, LossCurve.on_train_epoch_end = train, save, finish_cell, epoch


if multiprocessing.parent_process():  # a worker; the command itself imports this file too
    watch()
"""
"""A method file: every worker imports it and notes what it does, with the session (= the run) and its own number."""


@dataclass(frozen=True)
class Note:
    session: int
    process: int
    what: str
    name: str
    detail: str = ""


def read(path: str | Path) -> list[Note]:
    """The notes in order; a last line that is not whole yet is left out."""
    path = Path(path)
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    words = [line.split() for line in lines if line.endswith("\n")]
    return [Note(int(session), int(process), *rest) for session, process, *rest in words]


@dataclass
class Training:
    """One process' attempt at the training of a stage."""

    kind: str
    """``fresh``, ``resumed`` from a checkpoint, or ``stored``: its stage was finished when it began."""
    epochs: list[int]
    process: int


def trainings(notes: list[Note]) -> dict[str, list[Training]]:
    """Attempts by stage."""
    found: dict[str, list[Training]] = {}
    for note in notes:
        if note.what == "begin":
            found.setdefault(note.name, []).append(Training(note.detail, [], note.process))
        if note.what == "epoch":
            found[note.name][-1].epochs.append(int(note.detail))
            assert found[note.name][-1].process == note.process, f"two processes train {note.name}"
    return found


def wasted(stage: str, attempts: list[Training], epochs: int) -> list[str]:
    """What a stage's attempts did again without need; ``epochs``: the length of its training.

    A stage that is stored is never trained again. An attempt goes on after the last epoch that was seen to end, or
    with that epoch once more where the process was killed before the checkpoint was in place; the last epoch has none,
    so it comes once more where the stage was not stored yet. It starts from nothing only where nothing can have been
    saved.
    """
    wrong = []
    last = -1
    for attempt in attempts:
        if attempt.kind == "stored":
            wrong.append(f"{stage} is trained although it is stored")
        if attempt.kind == "fresh" and last > 0:
            wrong.append(f"{stage} starts from nothing after epoch {last} of {epochs}")
        first = 0 if attempt.kind == "fresh" else None
        if attempt.epochs:
            allowed = [first] if first is not None else [last, last + 1]
            if attempt.epochs[0] not in allowed:
                wrong.append(f"{stage} goes on with epoch {attempt.epochs[0]} after {last}")
            if attempt.epochs != list(range(attempt.epochs[0], attempt.epochs[-1] + 1)):
                wrong.append(f"{stage} trains epochs {attempt.epochs}")
            last = attempt.epochs[-1]
        elif attempt.kind == "fresh":
            last = -1
    return wrong
