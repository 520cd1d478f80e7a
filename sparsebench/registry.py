"""Registries that are read before they are imported.

A criterion, regime, modifier, network or data set is a function with a decorator, in a file dropped into
its package. Names, arguments and docstrings are read from the syntax tree, so listing and planning never
import torch; the file itself is imported when the thing is first used.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from sparsebench.errors import UsageError, unknown

_REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Entry:
    """What is known of a registered function without importing its file."""

    name: str
    summary: str
    params: dict[str, Any]
    """Keyword-only arguments a user may set, with their defaults."""
    traits: dict[str, Any]
    path: Path
    line: int
    module: str | None = None
    """Import path; None for a user's file, whose content is part of its identity."""

    kind: str = ""

    @property
    def kind_name(self) -> str:
        return f"{self.kind} {self.name!r}"

    def source_digest(self) -> str | None:
        """Hash of a user's file; None for what ships with the package (the protocol version covers that)."""
        return None if self.module else sha256(self.path.read_bytes()).hexdigest()[:16]


@dataclass
class Registry:
    """Functions of one kind, by name.

    Used as a decorator: ``@criterion(needs="weight")`` or plain ``@regime``. The public name is the
    function's, or the ``name`` trait where that would hide a builtin. What a user may set in a method
    string are the function's keyword-only arguments.
    """

    kind: str
    package: str
    listing: str
    """The command that lists all names, quoted in errors."""
    group: str | None = None
    """Entry point group through which other packages add theirs."""
    _live: dict[str, Callable] = field(default_factory=dict)
    _added: dict[str, Entry] = field(default_factory=dict)

    def __call__(self, function: Callable | None = None, **traits: Any):
        if function is None:
            return lambda f: self(f, **traits)
        self._live[traits.get("name", function.__name__)] = function
        return function

    @cached_property
    def _shipped(self) -> dict[str, Entry]:
        root = Path(__file__).parent.joinpath(*self.package.split(".")[1:])
        found: dict[str, Entry] = {}
        for path in sorted(root.glob("*.py")) if root.is_dir() else [root.with_suffix(".py")]:
            module = f"{self.package}.{path.stem}" if root.is_dir() and path.stem != "__init__" else self.package
            _add(found, read_entries(path, self.kind, module))
        return found

    @cached_property
    def _installed(self) -> dict[str, Entry]:
        found = dict(self._shipped)
        points = entry_points(self.group) if self.group else ()
        for point in {point.module: point for point in points}.values():
            try:
                spec = importlib.util.find_spec(point.module)
            except ModuleNotFoundError:
                spec = None
            if spec is None or spec.origin is None:
                raise UsageError(
                    f"entry point {point.name!r} names {point.module!r}, which cannot be imported: "
                    "reinstall its package"
                )
            _add(found, read_entries(Path(spec.origin), self.kind, point.module))
        return found

    @property
    def entries(self) -> dict[str, Entry]:
        """All entries by name: shipped, from other packages, from files given by path."""
        return {**self._installed, **self._added}

    def names(self) -> list[str]:
        return sorted(self.entries)

    def entry(self, name: str) -> Entry:
        try:
            return self.entries[name]
        except KeyError:
            raise unknown(self.kind, name, self.entries, self.listing) from None

    def get(self, name: str) -> Callable:
        """The function itself; imports its file on first use."""
        entry = self.entry(name)
        if name not in self._live:
            if entry.module:
                importlib.import_module(entry.module)
            else:
                import_file(entry.path)
        return self._live[name]

    def add_file(self, path: str | Path) -> list[str]:
        """Register what a user's file defines; returns the names of this kind.

        Raises:
            UsageError: the file cannot be read, or a name is taken by another file.
        """
        path = Path(path).resolve()
        entries = read_entries(path, self.kind, None)
        _add({name: e for name, e in self.entries.items() if e.path != path}, entries)
        self._added |= {entry.name: entry for entry in entries}
        return [entry.name for entry in entries]


def entry_points(group: str) -> Iterable[metadata.EntryPoint]:
    """Those of a group."""
    return _all_entry_points().select(group=group)


@cache
def _all_entry_points() -> metadata.EntryPoints:
    """Of all groups: the folders of installed packages are searched once, not for every registry."""
    return metadata.entry_points()


def _add(found: dict[str, Entry], entries: list[Entry]) -> None:
    """Add entries whose names are new."""
    for entry in entries:
        if entry.name in found:
            first = found[entry.name]
            raise UsageError(
                f"{entry.path}, line {entry.line}: {entry.kind} {entry.name!r} is already defined in "
                f"{first.path}, line {first.line}; rename one"
            )
        found[entry.name] = entry


def import_file(path: Path) -> ModuleType:
    """Import a user's file, once; whatever it raises is reported with its path and line."""
    name = f"sparsebench_user_{path.stem}_{sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        frames = reversed(traceback.extract_tb(error.__traceback__))
        line = next((f.lineno for f in frames if f.filename == str(path)), "?")
        raise UsageError(f"{path}, line {line}: {type(error).__name__}: {error}") from error
    return module


def read_entries(path: Path, kind: str, module: str | None) -> list[Entry]:
    """The functions in a file that carry the decorator ``@<kind>``, read from its syntax tree.

    Raises:
        UsageError: the file cannot be read or parsed, or a decorator's argument is not a literal.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (SyntaxError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}, line {getattr(error, 'lineno', '?')}: {error}") from error
    found = []
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            call = decorator if isinstance(decorator, ast.Call) else None
            target = call.func if call else decorator
            if (target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", None)) != kind:
                continue
            traits = {k.arg: _literal(k.value, path) for k in (call.keywords if call else []) if k.arg}
            doc = ast.get_docstring(node) or ""
            if doc.startswith(">>>") or not doc:
                doc = ast.get_docstring(tree) or ""
            found.append(
                Entry(
                    name=traits.get("name", node.name),
                    summary=doc.strip().split("\n\n")[0].replace("\n", " "),
                    params=_keyword_params(node, path),
                    traits=traits,
                    path=path,
                    line=node.lineno,
                    module=module,
                    kind=kind,
                )
            )
    return found


def _keyword_params(node: ast.FunctionDef | ast.ClassDef, path: Path) -> dict[str, Any]:
    if isinstance(node, ast.ClassDef):
        return {}
    return {
        arg.arg: _REQUIRED if default is None else _literal(default, path)
        for arg, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    }


def _literal(node: ast.expr, path: Path) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise UsageError(f"{path}, line {node.lineno}: arguments of registrations must be literals") from None


criterion = Registry("criterion", "sparsebench.criteria", "sparsebench list methods", "sparsebench.methods")
solver = Registry("solver", "sparsebench.criteria", "sparsebench list methods", "sparsebench.methods")
regime = Registry("regime", "sparsebench.regimes", "sparsebench list methods", "sparsebench.methods")
modifier = Registry("modifier", "sparsebench.modifiers", "sparsebench list methods", "sparsebench.methods")
network = Registry("network", "sparsebench.models", "sparsebench list models", "sparsebench.models")
measure = Registry("measure", "sparsebench.measures", "sparsebench list measures", "sparsebench.measures")
example_score = Registry("example_score", "sparsebench.diet", "sparsebench list diets")
dataset = Registry("dataset", "sparsebench.data", "sparsebench list datasets", "sparsebench.datasets")
