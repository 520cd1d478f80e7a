"""A board that runs in seconds, in this process."""

from __future__ import annotations

import pytest
import torch

from sparsebench.grid.board import Board, from_text
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context
from sparsebench.grid.run import Result, run

TINY = """
name: tiny
version: 1
title: Tiny board for the tests
tasks:
{task}
methods: {methods}
sparsities: {sparsities}
seeds: [0]
defaults: {{imp: {{rate: 0.5}}, lrr: {{rate: 0.5}}}}
"""


MLP = """  - base: digits-mlp
    name: tiny-mlp
    network_arguments: {hidden: [16, 12]}
    recipe: {epochs: 3, mask_every: 4}"""
RESNET = """  - base: digits-resnet8
    name: tiny-resnet
    network_arguments: {width: 4}
    recipe: {epochs: 3, mask_every: 4}"""


def tiny_board(*methods: str, sparsities: tuple[float, ...] = (0.75,), task: str = MLP) -> Board:
    """The dense row and some methods on one small network; RESNET has batch norm."""
    quoted = "[" + ", ".join(f'"{m}"' for m in ("dense", *methods)) + "]"
    return from_text(TINY.format(task=task, methods=quoted, sparsities=list(sparsities)), "tiny.yaml")


def run_inline(board: Board, store, **hardware) -> Result:
    """Run a board in this process with one thread."""
    context = Context(str(store), Hardware(**hardware), "test")
    return run(board, context, 1, launcher="inline")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
