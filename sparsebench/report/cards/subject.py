"""Subject: what a card is about: a method, or one regime, modifier or allocation that methods are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsebench.allocation import LIKE, allocation, split_allocation
from sparsebench.errors import UsageError, unknown
from sparsebench.methods import LISTING, Method, from_file, parse
from sparsebench.registry import Entry, criterion, modifier, regime

EXAMPLES = ("magnitude", "lamp", "random", "l1")
"""Criteria with which a bare regime or modifier is shown, the first that makes sense."""


@dataclass(frozen=True)
class Subject:
    """What was asked for, resolved."""

    text: str
    """The method string behind the file, if there is one."""
    method: Method
    """The method itself, or one that shows the part at work."""
    entries: tuple[Entry, ...]
    """Criterion, allocation, regime and modifiers, or the part alone."""
    part: Entry | None = None
    """A regime, modifier or allocation that was asked for by its bare name."""
    file: str = ""
    """The user's file, as it was written."""

    @property
    def title(self) -> str:
        return self.part.name if self.part else self.method.name

    @property
    def typed(self) -> str:
        """How the method is written on the command line."""
        return f"{self.file}:{self.method.name}" if self.file else self.method.name

    def is_row(self, name: str, defaults: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether a row of a board with these defaults is of this method, or has this part in it."""
        row = read(name, defaults)
        if row is None:
            return name == self.method.name and self.part is None
        if self.part:
            return self.part in entries_of(row)
        mine = read(self.text, defaults)
        return name == self.method.name or (mine is not None and meaning(mine) == meaning(row))


def subject(text: str) -> Subject:
    """Read what stands behind ``sparsebench card``.

    Args:
        text: a method string, ``FILE.py`` or ``FILE.py:METHOD``, or the name of a regime, modifier or allocation.

    Raises:
        UsageError: unknown (with the nearest name), senseless, or a file with several methods.
    """
    file, text = _from_file(text.strip())
    first = re.split(r"[^\w]", text.lstrip("+"), maxsplit=1)[0]
    bare = text.lstrip("+").strip()
    for registry in (regime, modifier, allocation):
        if bare in registry.entries and bare not in criterion.entries:
            entry = registry.entry(bare)
            if registry is not regime or entry.traits.get("criterion") != "none":
                return Subject(text, _example(entry), (entry,), entry, file)
    known = {**criterion.entries, **regime.entries, **modifier.entries, **allocation.entries}
    if first and first not in known:
        raise unknown("method", first, known, LISTING)
    method = parse(text)
    return Subject(text, method, tuple(entries_of(method)), None, file)


def read(text: str, defaults: Mapping[str, Mapping[str, Any]] | None = None) -> Method | None:
    """The method of a row; None if it was made by a file that is not here."""
    try:
        return parse(text, defaults)
    except UsageError:
        return None


def meaning(method: Method) -> tuple:
    """What a method does, however it is written."""
    return method.scorer, method.regime, method.regime_arguments, method.modifiers


def entries_of(method: Method) -> Iterator[Entry]:
    """Criterion, allocation, regime and modifiers of a method."""
    rule = method.regime_arguments.get("allocation")
    if method.scorer:
        yield criterion.entry(method.scorer.criterion)
        rule = method.scorer.allocation
    rule = split_allocation(str(rule))[0] if rule else None
    if rule and rule.startswith(LIKE):
        yield criterion.entry(rule.removeprefix(LIKE))
    elif rule:
        yield allocation.entry(rule)
    yield regime.entry(method.regime)
    for name, _ in method.modifiers:
        yield modifier.entry(name)


def _example(entry: Entry) -> Method:
    """A method with this part in it."""
    for text in _examples(entry):
        if method := read(text):
            return method
    raise UsageError(f"{entry.kind} {entry.name!r} goes with none of {', '.join(EXAMPLES)}: give a whole method")


def _examples(entry: Entry) -> Iterable[str]:
    if entry.kind == "regime":
        return [f"{name}@{entry.name}" for name in EXAMPLES]
    if entry.kind == "allocation":
        return [f"{name}/{entry.name}@finetune" for name in EXAMPLES]
    return [f"{name}@{place}+{entry.name}" for place in ("finetune", *regime.names()) for name in EXAMPLES]


def _from_file(text: str) -> tuple[str, str]:
    """The file, if there is one, and the method string; what the file defines is registered, not imported.

    Raises:
        UsageError: it cannot be read, or defines several methods and none was named.
    """
    path, _, wanted = text.partition(".py:")
    if not wanted and not text.endswith(".py"):
        return "", text
    file = f"{path}.py" if wanted else text
    methods = from_file(file, wanted or None, imported=False)
    if len(methods) > 1:
        some = ", ".join(f"{Path(file).name}:{name}" for name in methods[:3])
        raise UsageError(f"{file} defines {len(methods)} methods and a card is about one: name it, as in {some}")
    return file, methods[0]
