"""File rules: what must hold of a method's file before anything in it is tried. No torch."""

from __future__ import annotations

import ast
import doctest
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sparsebench.errors import UsageError
from sparsebench.methods import from_file, parse, register
from sparsebench.registry import Entry, Registry, criterion, modifier, read_entries, regime, solver
from sparsebench.submission.rule import Rule, rule

REGISTRIES = (criterion, solver, regime, modifier)
RULES: list[Rule] = []


@dataclass
class Source:
    """A method's file."""

    file: Path
    notes: dict[str, str] = field(default_factory=dict)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.file.read_text(encoding="utf-8"), filename=str(self.file))

    @cached_property
    def entries(self) -> list[Entry]:
        """What it defines, of all kinds."""
        return [entry for registry in REGISTRIES for entry in self.of(registry)]

    def of(self, registry: Registry) -> list[Entry]:
        return read_entries(self.file, registry.kind, None)


@rule(
    RULES,
    "is Python and defines a criterion, a regime or a modifier",
    "see docs/adding_a_method.md, or begin with sparsebench new",
)
def file(source: Source) -> Iterator[str]:
    try:
        decorated = [d for node in source.tree.body for d in getattr(node, "decorator_list", ())]
    except (SyntaxError, UnicodeDecodeError) as error:
        yield f"line {getattr(error, 'lineno', '?')}: {getattr(error, 'msg', error)}"
        return
    kinds = {registry.kind for registry in REGISTRIES}
    if not any(_called(d) in kinds for d in decorated):
        yield f"nothing in it carries a decorator @{', @'.join(sorted(kinds))}"


def _called(decorator: ast.expr) -> str | None:
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    return target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", None)


@rule(
    RULES,
    "traits and defaults are literals, and what can be set has a default",
    "write the value itself (0.5, 'eval', (1, 2)) in the decorator and behind keyword-only arguments: the file is read "
    "before it is imported",
    after=("file",),
)
def literals(source: Source) -> Iterator[str]:
    for registry in REGISTRIES:
        try:
            entries = source.of(registry)
        except UsageError as error:
            yield str(error).removeprefix(f"{source.file}, ")
            continue
        for entry in entries:
            for name, default in entry.params.items():
                if default is inspect.Parameter.empty:
                    yield f"line {entry.line}: {entry.kind_name}: argument {name!r} has no default"


@rule(
    RULES,
    "names are new",
    "rename it: results of two methods of one name cannot be told apart (sparsebench list methods)",
    after=("literals",),
)
def names(source: Source) -> Iterator[str]:
    for registry in REGISTRIES:
        entries = source.of(registry)
        for name, count in Counter(entry.name for entry in entries).items():
            if count > 1:
                yield f"{registry.kind} {name!r} is defined {count} times in the file"
        for entry in entries:
            there = registry._installed.get(entry.name)
            if there:
                yield f"line {entry.line}: {registry.kind} {entry.name!r} is defined in {there.module} already"


@rule(
    RULES,
    "every function has a docstring, or the file",
    "say in one sentence and a formula what is kept and why: sparsebench list and show print it",
    after=("literals",),
)
def docstrings(source: Source) -> Iterator[str]:
    for entry in source.entries:
        if not entry.summary:
            yield f"line {entry.line}: {entry.kind} {entry.name!r} has none"


WORDS = ("train", "eval")
TRAITS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "criterion": {
        "name": str.isidentifier,
        "needs": lambda v: v in ("weight", "random", "gradient", "model", "norm"),
        "mode": lambda v: v in WORDS,
        **dict.fromkeys(("examples", "per_class", "rounds", "batch"), lambda v: _whole(v) and v >= 1),
        "floor": lambda v: _whole(v) and v >= 0,
        **dict.fromkeys(("regime", "within_layer_order", "allocation", "dtype", "paper"), lambda v: isinstance(v, str)),
        "allocations": lambda v: isinstance(v, tuple | list) and all(isinstance(word, str) for word in v),
        "structure": lambda v: v == "units",
        **dict.fromkeys(("per_layer", "moves_weights", "accumulates", "second_order"), lambda v: isinstance(v, bool)),
    },
    "solver": {"name": str.isidentifier},
    "regime": {
        "name": str.isidentifier,
        "criterion": lambda v: v in ("any", "none", "optional"),
        "single_round": lambda v: isinstance(v, bool),
        **dict.fromkeys(("scoring", "count"), lambda v: isinstance(v, str)),
    },
    "modifier": {"name": str.isidentifier},
}
"""Kind -> trait -> whether a value makes sense."""


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@rule(
    RULES,
    "traits are known, with values that make sense",
    "a trait that nobody knows is ignored, and so would be what you meant by it: docs/adding_a_method.md lists them",
    after=("literals",),
)
def traits(source: Source) -> Iterator[str]:
    from difflib import get_close_matches

    for entry in source.entries:
        known = TRAITS[entry.kind]
        for name, value in entry.traits.items():
            where = f"line {entry.line}: {entry.kind_name}: trait {name}={value!r}"
            if name not in known:
                near = get_close_matches(name, known, n=1, cutoff=0.5)
                yield f"{where} is not known" + (f": did you mean {near[0]}=?" if near else "")
            elif not _makes_sense(known[name], value):
                yield f"{where} makes no sense"
        if entry.kind == "solver" and entry.name not in [e.name for e in source.of(criterion)]:
            yield f"line {entry.line}: {entry.kind_name} stands beside no criterion of its name"


def _makes_sense(accepts: Callable[[Any], bool], value: Any) -> bool:
    try:
        return bool(accepts(value))
    except TypeError:
        return False


@rule(
    RULES,
    "the file can be imported",
    "the error says what; a package it needs must be installed",
    after=("names",),
)
def imports(source: Source) -> Iterator[str]:
    try:
        register(str(source.file))
    except UsageError as error:
        yield str(error).removeprefix(f"{source.file}, ")


@rule(
    RULES,
    "its methods can be read: those of METHODS, or each criterion in its own regime",
    "METHODS is a list of method strings such as 'my_method/erk@init'; a file with a regime or a modifier and no "
    "criterion needs one",
    after=("imports",),
)
def methods(source: Source) -> Iterator[str]:
    try:
        found = from_file(str(source.file))
    except (UsageError, ValueError, TypeError) as error:
        yield str(error)
        return
    used: set[str] = set()
    for text in found:
        try:
            method = parse(text)
        except UsageError as error:
            yield f"{text!r}: {error}"
            continue
        except Exception:
            if any(entry.kind in ("regime", "modifier") for entry in source.entries):
                continue  # rule phases says what is wrong with them
            raise
        used |= {method.regime, *(name for name, _ in method.modifiers)}
        used |= {method.scorer.criterion} if method.scorer else set()
    unused = [entry.name for entry in source.entries if entry.kind != "solver" and entry.name not in used]
    if unused:
        source.notes["methods"] = "in no method: " + ", ".join(unused)


@rule(
    RULES,
    "the examples in its docstrings come out as written",
    "run python -m doctest on the file and correct the example or the code",
    after=("imports",),
)
def examples(source: Source) -> Iterator[str]:
    for module in [m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == str(source.file)]:
        said: list[str] = []
        flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
        runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
        for test in doctest.DocTestFinder().find(module, extraglobs={}):
            if runner.run(test, out=said.append).failed:
                yield f"{test.name.rpartition('.')[2]} (line {(test.lineno or 0) + 1})"
        return
