"""Budget classes: how much training a method may take, in units of the dense network's.

    budgets:
      - {name: "1x", epochs: 1.0, flops: 1.0}
      - {name: "2x", epochs: 2.0, flops: 2.0}

A board lists them from small to large. They rank cells, they do not change any: no name of a cell depends on them.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from sparsebench.errors import UsageError, unknown

MORE = "more"
"""The class of methods beyond the last budget."""
UNKNOWN = "unknown"
"""The class of methods without a dense row, or without costs, to hold against the budgets."""
KEYS = ("name", "epochs", "flops")


@dataclass(frozen=True)
class Budget:
    """A class with its bounds: training epochs and training FLOPs, relative to the dense network's."""

    name: str
    epochs: float
    flops: float

    def describe(self) -> dict[str, Any]:
        return asdict(self)


DEFAULT = tuple(Budget(f"{n}x", float(n), float(n)) for n in (1, 2, 5, 10))
"""For boards that name none: as much training as the dense network, twice, five times and ten times as much."""


def read(values: Any) -> tuple[Budget, ...]:
    """The classes of a board, from what its YAML holds.

    Raises:
        UsageError: not a list of mappings with the three keys; a bound that is no number above 0; a name that is taken
            twice or reserved; classes that are not in order, each allowing at least what the one before it allows.
    """
    if not isinstance(values, list) or not values:
        raise UsageError(f"is {values!r}; a list such as [{{name: 1x, epochs: 1.0, flops: 1.0}}] is wanted")
    found: list[Budget] = []
    for value in values:
        budget = _one(value)
        if budget.name in {b.name for b in found}:
            raise UsageError(f"class {budget.name!r} is listed twice; keep one")
        if found and (budget.epochs < found[-1].epochs or budget.flops < found[-1].flops):
            raise UsageError(
                f"class {budget.name!r} allows less than {found[-1].name!r} before it; list classes from small to large"
            )
        if found and (budget.epochs, budget.flops) == (found[-1].epochs, found[-1].flops):
            raise UsageError(f"classes {found[-1].name!r} and {budget.name!r} have the same bounds; keep one")
        found.append(budget)
    return tuple(found)


def _one(value: Any) -> Budget:
    if not isinstance(value, dict):
        raise UsageError(f"a class is {value!r}; a mapping with {', '.join(KEYS)} is wanted")
    for key in value:
        if key not in KEYS:
            raise unknown("key", str(key), KEYS, "docs/statistics.md")
    for key in KEYS:
        if key not in value:
            raise UsageError(f"class {value.get('name', value)!r} has no {key!r}; a class has {', '.join(KEYS)}")
    name = str(value["name"])
    if not name.strip() or name in (MORE, UNKNOWN):
        raise UsageError(f"a class is named {name!r}, which is empty or reserved; choose another name, such as 2x")
    for key in ("epochs", "flops"):
        bound = value[key]
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not 0 < bound < math.inf:
            raise UsageError(
                f"class {name!r}: {key} is {bound!r}; a number above 0, in units of the dense network's, is wanted"
            )
    return Budget(name, float(value["epochs"]), float(value["flops"]))
