"""Instead: a recipe's board on another data set than the paper's, under names that say so.

A copy of CIFAR-10 in another encoding is not CIFAR-10: what is measured on it has its own cells, page and label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sparsebench.errors import UsageError
from sparsebench.registry import dataset

if TYPE_CHECKING:
    from sparsebench.grid.board import Board


def read(text: str) -> tuple[str, str]:
    """``OLD=NEW``, two data sets.

    Raises:
        UsageError: it is not of that form, or names a data set that is not known.
    """
    old, mark, new = text.partition("=")
    if not mark or not old or not new:
        raise UsageError(f"--instead {text!r} is not OLD=NEW, such as cifar10=cifar10_jpeg")
    for name in (old, new):
        dataset.entry(name.partition(":")[0])
    return old, new


def label(instead: str) -> str:
    """What is added to the names of files, of tasks and of pages.

    >>> label("cifar10=cifar10_jpeg"), label("")
    ('-cifar10_jpeg', '')
    """
    return f"-{read(instead)[1].partition(':')[0]}" if instead else ""


def swapped(board: Board, instead: str) -> Board:
    """The board with one data set in place of another; its tasks on it have other names, its cells the same order.

    Raises:
        UsageError: no task of the board is on the data set that shall go.
    """
    old, new = read(instead)
    if old not in {task.dataset for task in board.tasks}:
        here = ", ".join(sorted({task.dataset for task in board.tasks}))
        raise UsageError(f"--instead {instead}: recipe {board.name} has tasks on {here} at this scale, none on {old}")
    names = {task.name: f"{task.name}{label(instead)}" for task in board.tasks if task.dataset == old}
    tasks = [replace(t, name=names[t.name], dataset=new) if t.name in names else t for t in board.tasks]
    limits = {method: tuple(names.get(task, task) for task in of) for method, of in board.limits.items()}
    return replace(board, tasks=tuple(tasks), limits=limits)


def renamed(record: Mapping[str, Any], task: str) -> dict[str, Any]:
    """A record under the task's name in the recipe, as its judges ask for it."""
    return {**record, "cell": {**record["cell"], "task": task}}
