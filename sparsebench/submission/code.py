"""Code: a method's file known for a while, and the cells that it and a board ask for."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isclose
from pathlib import Path
from typing import Any

from sparsebench.allocation import split_allocation
from sparsebench.errors import UsageError
from sparsebench.grid.board import Board
from sparsebench.grid.cell import Cell
from sparsebench.methods import parse
from sparsebench.patterns import NM
from sparsebench.registry import criterion, modifier, regime, solver

REGISTRIES = (criterion, solver, regime, modifier)
Key = tuple[str, str, float, int]
"""Task, method, sparsity and seed."""


@contextmanager
def registered(file: Path | None) -> Iterator[None]:
    """Within the block the methods of a file are known; it is read, and imported only when one of them is used.

    Raises:
        UsageError: it cannot be read, or defines what is defined elsewhere.
    """
    with forgotten(file):
        for registry in REGISTRIES if file else ():
            registry.add_file(file)
        yield


@contextmanager
def forgotten(file: Path | None) -> Iterator[None]:
    """What a file registers within the block is unknown behind it; what was known before stays."""
    before = [(dict(registry._added), dict(registry._live)) for registry in REGISTRIES]
    try:
        yield
    finally:
        for registry, (added, live) in zip(REGISTRIES, before, strict=True):
            new = registry._added.keys() - added.keys()
            registry._added = added
            for name in new:
                registry._live.pop(name, None)
            registry._live.update({name: live[name] for name in new & live.keys()})
            if new and file:
                _forget(file)


def _forget(file: Path) -> None:
    """Import the file anew when it is registered again: it may have changed, and what it registered is gone."""
    path = str(Path(file).resolve())
    for name, module in list(sys.modules.items()):
        if name.startswith("sparsebench_user_") and getattr(module, "__file__", None) == path:
            del sys.modules[name]


def cells_of(board: Board, methods: Sequence[str]) -> dict[str, Cell]:
    """The cells of methods and of the dense row, by id; the methods' files must be registered.

    Raises:
        UsageError: a method that is not known or not sensible.
    """
    return {cell.id: cell for cell in board.narrowed(methods).cells}


def key_of(cell: Mapping[str, Any]) -> Key:
    """What a record's ``cell`` says."""
    return cell["task"], cell["method"], cell["sparsity"], cell["seed"]


def keys_of(board: Board, methods: Sequence[str], records: Sequence[Mapping[str, Any]]) -> dict[Key, None]:
    """The cells of methods whose code is not known, by what they are called; records tell an N:M method's sparsity."""
    found: dict[Key, None] = {}
    for method in ("dense", *methods):
        for task in board.tasks:
            for sparsity in (0.0,) if method == "dense" else _sparsities(board, method, records):
                found |= dict.fromkeys((task.name, method, sparsity, seed) for seed in board.seeds)
    return found


def _sparsities(board: Board, method: str, records: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    mine = [data["settings"]["phases"] for data in records if data["cell"]["method"] == method]
    scorers = [p.get("scorer") or (p.get("pruner") or {}).get("scorer") or {} for phases in mine for p in phases]
    for allocation in {scorer["allocation"] for scorer in scorers if "allocation" in scorer}:
        try:
            pattern = split_allocation(allocation)[1]
        except UsageError:
            continue
        if isinstance(pattern, NM):
            return tuple(s for s in board.sparsities if isclose(s, 1 - pattern.density))
    return board.sparsities


def is_known(method: str) -> bool:
    """Whether a method is made of what is registered now."""
    try:
        parse(method)
    except UsageError:
        return False
    return True
