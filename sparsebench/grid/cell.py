"""Cell: task x method x sparsity x seed, a frozen value whose hash is its name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sparsebench.corruptions import SETS
from sparsebench.methods import Method
from sparsebench.phases import describe
from sparsebench.protocol import PROTOCOL, canonical, list_text, name_of_text, object_text
from sparsebench.record import SCHEMA
from sparsebench.tasks import Task


@dataclass(frozen=True)
class Cell:
    """One number of a leaderboard, before it is measured."""

    task: Task
    method: Method
    sparsity: float
    seed: int
    corruptions: str = SETS[0]
    """The set of corrupted test images that is measured. No stage depends on it, so no stage's name does."""
    measures: tuple[str, ...] = ()
    """What is measured of the finished network beyond the usual; no stage depends on it either."""

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the result; the usual measurements are left out, so they have no part in the name."""
        return {
            **self._asked,
            "task": self.task.settings(),
            "phases": [describe(phase) for phase in self.method.phases(self.sparsity)],
            "sparsity": self.sparsity,
            "seed": self.seed,
        }

    @cached_property
    def id(self) -> str:
        """The name of the settings, put together from texts that other cells share."""
        asked = {key: canonical(value) for key, value in self._asked.items()}
        return name_of_text(
            object_text(
                **asked,
                task=self.task.text,
                phases=list_text(text for _, text in self.method.steps(self.sparsity)),
                sparsity=canonical(self.sparsity),
                seed=canonical(self.seed),
            )
        )

    @property
    def _asked(self) -> dict[str, Any]:
        """What is measured beyond the usual."""
        corruptions = {} if self.corruptions == SETS[0] else {"corruptions": self.corruptions}
        return {**corruptions, **({"measures": list(self.measures)} if self.measures else {})}

    @property
    def label(self) -> str:
        return f"{self.task.name} {self.method.name} {self.sparsity:.4g} seed {self.seed}"

    def key(self) -> dict[str, Any]:
        """The cell as a record names it."""
        return {
            "task": self.task.name,
            "method": self.method.name,
            "sparsity": self.sparsity,
            "seed": self.seed,
        }

    def record_head(self) -> dict[str, Any]:
        """How every record of this cell begins; the board is filled in when it is published."""
        return {
            "schema": SCHEMA,
            "board": "",
            "board_version": 0,
            "protocol": PROTOCOL,
            "cell_id": self.id,
            "cell": self.key(),
            "settings": self.settings,
        }
