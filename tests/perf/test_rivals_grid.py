"""The rivals of sharing.py, packing.py and batched_cells.py compute the same thing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "perf"))

import batched_cells
import packing
import sharing

from sparsebench.grid.board import from_text
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.plan import plan
from sparsebench.grid.store import Store

BOARD = """
name: short
version: 1
title: Two epochs
tasks: [{name: short-mlp, base: digits-mlp, recipe: {epochs: 2}}]
methods: [magnitude@lrr, snip@init]
sparsities: [0.75, 0.875]
seeds: [0]
defaults: {lrr: {rate: 0.5}}
"""
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}


@pytest.mark.slow
def test_a_cell_on_its_own_is_the_cell_of_the_board(tmp_path):
    board = from_text(BOARD, "short")
    together = packing.records(board, 2, Hardware())
    whole = plan(board.cells)
    assert whole.trainings < whole.trainings_unshared
    for cell in board.cells:
        store = Store(tmp_path / cell.id)
        sharing.on_its_own(whole, cell, str(store.folder))
        alone, shared = store.record(cell.id).data, together[cell.id].data
        assert store.done_stages() == set(whole.chains[cell.id])
        for part in ("curves", "per_class", "sparsity", "flops"):
            assert alone[part] == shared[part]
        assert {**shared["metrics"], **unreferenced(alone)} == alone["metrics"]


def unreferenced(record: dict) -> dict:
    """What a cell without its dense row cannot know: how its classes fare beside it."""
    return {name: value for name, value in record["metrics"].items() if name.startswith(("cev", "sde"))}


def test_the_whole_command_runs(monkeypatch):
    """``command`` types what this suite's parser takes."""
    from sparsebench.cli.parser import parse

    typed = []

    def run(words, **_):
        typed.append(parse(words[3:]))
        return sharing.subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(sharing.subprocess, "run", run)
    board = sharing.boards.load("quick").narrowed(tasks=["digits-mlp"], seeds=[1])
    sharing.command(board, "quick", 2)
    assert (typed[0].tasks, typed[0].seeds, typed[0].workers) == (["digits-mlp"], [1], 2)


@pytest.mark.parametrize(
    ("network", "program", "dtype"),
    [
        ("digits-mlp", batched_cells.Vmapped, torch.float32),
        ("digits-mlp", batched_cells.ByHand, torch.float32),
        ("small-cnn", batched_cells.ByHand, torch.float64),
        ("digits-resnet8", batched_cells.Vmapped, torch.float64),
        ("digits-resnet8", batched_cells.ByHand, torch.float64),
        ("digits-vgg", batched_cells.ByHand, torch.float64),
    ],
)
def test_a_batched_program_trains_every_cell_as_a_run_of_its_own(network, program, dtype):
    """In 64 bits where networks make rounding in 32 bits grow within two steps."""
    assert batched_cells.difference(network, program, steps=2, dtype=dtype) < TOLERANCE[dtype]


def test_cells_differ_and_stay_sparse():
    """Equality would say little about eight times the same cell, or about cells that are not pruned."""
    problem = batched_cells.Problem("digits-mlp", range(2), steps=2)
    program = batched_cells.ByHand(problem)
    program.train()
    first, second = program.states()
    assert not torch.equal(first["fc1.weight"], second["fc1.weight"])
    for state, masks in zip((first, second), problem.masks, strict=True):
        for name, mask in masks.items():
            assert torch.equal(state[name] != 0, mask.bool())
