"""The small board that every launcher is tried on, and what it gives in one process."""

from __future__ import annotations

from pathlib import Path

from sparsebench.grid import board as boards
from sparsebench.grid.board import Board
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context
from sparsebench.grid.run import run
from sparsebench.record import Record

METHODS = ("magnitude@gmp", "random/erk@init", "magnitude@finetune(epochs=0.5)")
TEXT = """
name: small
version: 1
title: Small board
tasks:
  - {base: digits-mlp, name: small-mlp, network_arguments: {hidden: [16, 12]}, recipe: {epochs: EPOCHS, mask_every: 4}}
methods: METHODS
sparsities: [0.75]
seeds: [0]
"""


def board_text(epochs: int = 24, methods: tuple[str, ...] = METHODS) -> str:
    return TEXT.replace("EPOCHS", str(epochs)).replace("METHODS", str(list(methods)))


def in_one_process(text: str, store: Path) -> tuple[Board, dict[str, dict]]:
    """The board and its metrics by cell, when nothing happens."""
    board = boards.from_text(text, "small.yaml")
    result = run(board, Context(str(store), Hardware(), "test"), 1, launcher="inline")
    assert not result.failed
    return board, {cell: record.data["metrics"] for cell, record in result.records.items()}


def metrics_of(folder: Path) -> dict[str, dict]:
    """Metrics by cell in the store of a working folder."""
    records = map(Record.load, Path(folder, ".sparsebench", "records").glob("*.json"))
    return {record.data["cell_id"]: record.data["metrics"] for record in records}
