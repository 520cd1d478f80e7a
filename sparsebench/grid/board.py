"""Board: a frozen, versioned list of cells, written in YAML.

    name: quick
    version: 1
    title: ...
    tasks: [digits-mlp, ...]          # names, or mappings with a base task and changes
    methods: [dense, magnitude@imp]   # or {method: bn_scale, tasks: [digits-resnet8]} for some of the tasks only
    sparsities: [0.75, 0.98]
    seeds: [0, 1, 2]
    defaults: {imp: {rate: 0.5}}      # arguments that method strings leave open
    measures: [geometry]              # what else is measured of every network, see sparsebench/measures
    data_keep: [1.0, 0.5]             # shares of the training images; 1.0 is the task itself, the others want
    diet: [random, {score: el2n, epoch: 20}]        # ... how they are chosen, see docs/data_diet.md
    corruptions: full                 # every corruption of every test image, in place of a sample of five an image
    budgets: [{name: 1x, epochs: 1.0, flops: 1.0}]  # classes in which methods are ranked, see budgets.py
    baseline: magnitude@imp           # the row that all others are compared with

The dense row is part of every board: it is the reference of all others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import yaml

from sparsebench import benchmarks
from sparsebench import diet as diets
from sparsebench.corruptions import SETS
from sparsebench.errors import UsageError, unknown
from sparsebench.grid import budgets as classes
from sparsebench.grid.budgets import Budget
from sparsebench.grid.cell import Cell
from sparsebench.methods import Method, parse
from sparsebench.registry import criterion, measure, modifier, regime
from sparsebench.tasks import Task, custom, task

FOLDER = Path(benchmarks.__file__).parent / "boards"
REQUIRED = ("name", "version", "title", "tasks", "methods", "sparsities", "seeds")
OPTIONAL = ("defaults", "corruptions", "measures", "budgets", "baseline", "data_keep", "diet", "notes")


@dataclass(frozen=True)
class Board:
    name: str
    version: int
    title: str
    tasks: tuple[Task, ...]
    methods: tuple[Method, ...]
    sparsities: tuple[float, ...]
    seeds: tuple[int, ...]
    defaults: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: str = ""
    limits: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Method -> the only tasks it runs on."""
    corruptions: str = SETS[0]
    """The set of corrupted test images that every cell is measured on."""
    measures: tuple[str, ...] = ()
    """What else is measured of every finished network."""
    budgets: tuple[Budget, ...] = classes.DEFAULT
    """Classes of training cost, from small to large; they change no cell."""
    baseline: str = ""
    """The method that differences are taken to; without one, magnitude in the same regime."""

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, each once; the dense row has sparsity 0, N:M methods have their own alone."""
        found: dict[str, Cell] = {}
        for t in self.tasks:
            for method in self.methods:
                if t.name not in self.limits.get(method.name, (t.name,)):
                    continue
                for sparsity in self.sparsities_of(method):
                    for seed in self.seeds:
                        cell = Cell(t, method, sparsity, seed, self.corruptions, self.measures)
                        found.setdefault(cell.id, cell)
        return tuple(found.values())

    def sparsities_of(self, method: Method) -> tuple[float, ...]:
        return (0.0,) if method.is_dense else tuple(s for s in self.sparsities if method.applies_at(s))

    def dense_of(self, cell: Cell) -> Cell:
        """The dense cell a cell is compared with."""
        return Cell(cell.task, parse("dense"), 0.0, cell.seed, cell.corruptions, cell.measures)

    def narrowed(
        self,
        methods: Iterable[str] | None = None,
        tasks: Iterable[str] | None = None,
        seeds: Iterable[int] | None = None,
        sparsities: Iterable[float] | None = None,
    ) -> Board:
        """The board with some of its tasks, seeds or sparsities, or with other methods.

        Raises:
            UsageError: an unknown method, or a task, seed or sparsity that makes the grid empty or is not allowed.
        """
        board = self
        if methods is not None:
            board = replace(board, methods=_with_dense([parse(m, self.defaults) for m in methods]))
        if tasks is not None:
            mine = {t.name: t for t in self.tasks}
            chosen = dict.fromkeys(tasks)
            board = replace(board, tasks=tuple(mine[n] if n in mine else _not_here(n, mine, self.name) for n in chosen))
        if seeds is not None:
            board = replace(board, seeds=_some("seeds", _seeds(list(seeds)), self))
        if sparsities is not None:
            board = replace(board, sparsities=_some("sparsities", _sparsities(list(sparsities)), self))
        return board.checked()

    def checked(self) -> Board:
        for name in ("tasks", "methods", "seeds"):
            if not getattr(self, name):
                raise UsageError(f"board {self.name!r}: no {name}, so the grid is empty; give at least one")
        if not self.sparsities and any(not m.is_dense for m in self.methods):
            raise UsageError(f"board {self.name!r}: no sparsities, so the grid is empty; give at least one")
        for method in self.methods:
            if not self.sparsities_of(method):
                listed = ", ".join(f"{s:g}" for s in self.sparsities)
                raise UsageError(
                    f"board {self.name!r}: {method.name} has sparsity {method.fixed_sparsity:g} and no other, "
                    f"the board has {listed}; add its sparsity or leave the method out"
                )
        return self

    def info(self) -> dict[str, Any]:
        """What the report needs to know of the board."""
        return {
            "name": self.name,
            "version": self.version,
            "title": self.title,
            "tasks": [t.name for t in self.tasks],
            "methods": [m.name for m in self.methods],
            "sparsities": list(self.sparsities),
            "seeds": list(self.seeds),
            "notes": self.notes,
            "fixed": {m.name: m.fixed_sparsity for m in self.methods if m.fixed_sparsity is not None},
            "limits": {m.name: list(self.limits[m.name]) for m in self.methods if m.name in self.limits},
            "budgets": [budget.describe() for budget in self.budgets],
            "baseline": self.baseline,
        }


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str) -> Board:
    """A shipped board by name, or one from a YAML file.

    Raises:
        UsageError: unknown board; malformed YAML (file, line); a missing, unknown or wrong key (file, line, key).
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        if path.parent != FOLDER:
            raise UsageError(f"board file {name} does not exist; give a path, or a name from 'sparsebench list boards'")
        raise unknown("board", name, names(), "sparsebench list boards")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    return from_text(text, str(path))


def from_text(text: str, where: str) -> Board:
    """A board from YAML text; ``where`` names it in errors."""
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        content = loader.construct_document(node) if node else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{where}{line}: not valid YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{where}: a board is a mapping with the keys {', '.join(REQUIRED)}")
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if key.value not in REQUIRED + OPTIONAL:
            error = unknown("key", str(key.value), REQUIRED + OPTIONAL, "docs/architecture.md")
            raise UsageError(f"{where}, line {line}: {error}")
        if key.value in lines:
            raise UsageError(f"{where}, line {line}: {key.value}: already given in line {lines[key.value]}; keep one")
        lines[key.value] = line
    for key in REQUIRED:
        if key not in content:
            raise UsageError(f"{where}: the key {key!r} is missing; a board has {', '.join(REQUIRED)}")
    for key, other in (("diet", "data_keep"), ("data_keep", "diet")):
        if key in content and other not in content:
            raise UsageError(f"{where}, line {lines[key]}: {key} needs {other} beside it, see docs/data_diet.md")
    # Defaults first: methods are read with them.
    order = sorted(content, key=lambda key: key != "defaults")
    read = {key: _read(key, content, where, lines[key]) for key in order}
    board = Board(**{key: value for key, value in read.items() if key not in ("data_keep", "diet")})
    with_diets = partial(_with_diets, keeps=content.get("data_keep"))
    for key, settle in (("diet", with_diets), ("methods", _with_limits), ("baseline", _with_baseline)):
        try:
            board = settle(board, content[key]) if key in content else board
        except UsageError as error:
            raise UsageError(f"{where}, line {lines[key]}: {key}: {error}") from None
    try:
        return board.checked()
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def _read(key: str, content: dict, where: str, line: int) -> Any:
    value = content[key]
    try:
        if key in ("tasks", "methods", "sparsities", "seeds", "measures") and not isinstance(value, list):
            raise UsageError(f"is {value!r}; a list is wanted")
        if key == "tasks":
            return _tasks(value)
        if key == "methods":
            return _with_dense([parse(_method(m), content.get("defaults")) for m in value])
        if key == "sparsities":
            return _sparsities(value)
        if key == "seeds":
            return _seeds(value)
        if key == "defaults":
            return _defaults(value)
        if key == "corruptions" and value not in SETS:
            raise UsageError(f"is {value!r}; {' or '.join(SETS)} is wanted")
        if key == "measures":
            return _measures(value)
        if key == "budgets":
            return classes.read(value)
        if key in ("data_keep", "diet"):
            return value  # settled together
        if key == "baseline":
            return ""  # settled once the methods are known
        if key == "version" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise UsageError(f"is {value!r}; a positive whole number is wanted")
        if key == "name" and not re.fullmatch(r"[A-Za-z0-9][\w.-]*", str(value)):
            raise UsageError(
                f"is {value!r}; it becomes a folder: letters, digits, dots, hyphens and underscores are wanted"
            )
        return value if key == "version" else str(value)
    except UsageError as error:
        raise UsageError(f"{where}, line {line}: {key}: {error}") from None


def _method(value: Any) -> str:
    """The method string of an entry, which may be a mapping with the tasks it is for."""
    if isinstance(value, dict) and set(value) != {"method", "tasks"}:
        raise UsageError(f"is {value!r}; a method, or {{method: ..., tasks: [...]}}, is wanted")
    return str(value["method"] if isinstance(value, dict) else value)


def _with_baseline(board: Board, value: Any) -> Board:
    """The baseline under its canonical name; it is a row of the board, or there is nothing to pair with."""
    if value is None:
        return board
    name, known = parse(str(value), board.defaults).name, [m.name for m in board.methods if not m.is_dense]
    if name not in known:
        raise UsageError(
            f"{name} is not a pruned row of the board; add it to methods, or name one of {', '.join(known)}"
        )
    return replace(board, baseline=name)


def _with_diets(board: Board, value: Any, keeps: Any) -> Board:
    """The board with a task more for every task, way of choosing training images and share of them."""
    arms, shares = diets.arms(value, keeps)
    known, tasks = [t.name for t in board.tasks], []
    for arm in arms:
        for name in arm.get("tasks", ()):
            if name not in known:
                raise unknown("task", str(name), known, f"board {board.name!r} has {', '.join(known)}")
    for t in board.tasks:
        mine = [arm for arm in arms if t.name in arm.get("tasks", known)]
        tasks += [t] if 1.0 in shares else []
        tasks += [t.on_diet(arm, keep) for arm in mine for keep in diets.shares(arm.get("keep", shares)) if keep < 1]
    for diet in (t.diet for t in tasks if t.diet):
        if clash := set(board.seeds) & set(diet.seeds):
            raise UsageError(
                f"seed {min(clash)} is that of a network which scores images for {diet.arm}, and none must choose its "
                f"own; use seeds below {diets.SCORING_SEED}"
            )
    return replace(board, tasks=tuple({t.name: t for t in tasks}.values()))


def _with_limits(board: Board, values: list) -> Board:
    """The board that knows which methods are not for all tasks."""
    limits, known = {}, [t.name for t in board.tasks]
    for value in values:
        if isinstance(value, dict):
            for name in value["tasks"]:
                if name not in known:
                    raise unknown("task", str(name), known, f"board {board.name!r} has {', '.join(known)}")
            limits[parse(str(value["method"]), board.defaults).name] = tuple(map(str, value["tasks"]))
    return replace(board, limits=limits)


def _tasks(values: list) -> tuple[Task, ...]:
    tasks = {}
    for value in values:
        found = custom(value) if isinstance(value, dict) else task(str(value))
        if found.name in tasks:
            raise UsageError(f"task {found.name!r} is listed twice; keep one, or give a changed one a name of its own")
        tasks[found.name] = found
    return tuple(tasks.values())


def _defaults(value: Any) -> dict[str, dict[str, Any]]:
    if not (isinstance(value, dict) and all(isinstance(v, dict) for v in value.values())):
        raise UsageError(f"is {value!r}; a mapping such as {{imp: {{rate: 0.5}}}} is wanted")
    known = {**criterion.entries, **regime.entries, **modifier.entries}
    for name, arguments in value.items():
        if name not in known:
            raise unknown("criterion, regime or modifier", str(name), known, "sparsebench list methods")
        for argument in arguments:
            if argument not in known[name].params:
                params = ", ".join(known[name].params) or "none"
                raise UsageError(f"{known[name].kind_name} has no argument {argument!r} (its arguments: {params})")
    return value


def _with_dense(methods: list[Method]) -> tuple[Method, ...]:
    if not any(m.is_dense for m in methods):
        methods = [parse("dense"), *methods]
    return tuple({m.name: m for m in methods}.values())


def _sparsities(values: list) -> tuple[float, ...]:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise UsageError(f"sparsity {value!r} is not in [0, 1): it is the removed fraction of the prunable weights")
    return tuple(sorted({float(v) for v in values}))


def _measures(values: list) -> tuple[str, ...]:
    for value in values:
        measure.entry(str(value))
    return tuple(sorted(set(map(str, values))))


def _seeds(values: list) -> tuple[int, ...]:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise UsageError(f"seed {value!r} is not a whole number of 0 or more")
    return tuple(sorted(set(values)))


def _not_here(name: str, mine: dict[str, Task], board: str) -> Task:
    raise unknown("task", name, mine, f"board {board!r} has {', '.join(mine)}")


def _some(what: str, wanted: tuple, board: Board) -> tuple:
    """A part of a board's seeds or sparsities; a frozen board has no others."""
    known = getattr(board, what)
    for value in wanted:
        if value not in known:
            listed = ", ".join(f"{v:g}" for v in known)
            raise UsageError(
                f"board {board.name!r} has the {what} {listed}, not {value:g}: a board is frozen; "
                "for others copy its YAML under a name of its own"
            )
    return wanted
