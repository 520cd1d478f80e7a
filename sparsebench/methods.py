"""Methods: criterion, allocation, regime and modifiers, written as one string.

    criterion(args)/allocation@regime(args)+modifier(args)

``magnitude@imp``, ``magnitude/erk@init``, ``lamp@lrr(rate=0.5)``, ``rigl(alpha=0.2)``, ``snip@init+shuffle``,
``wanda/2:4@oneshot``, ``magnitude/uniform/block4x4``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import isclose
from pathlib import Path
from typing import Any

from sparsebench.allocation import split_allocation
from sparsebench.criteria import check_types, default_allocation, split_method
from sparsebench.errors import UsageError, unknown
from sparsebench.fingerprint import fingerprint
from sparsebench.patterns import NM
from sparsebench.phases import Phase, Scorer, describe
from sparsebench.protocol import canonical
from sparsebench.registry import Entry, criterion, import_file, modifier, regime, solver
from sparsebench.sensible import check_arguments, check_limits, check_moving, check_phases, check_regime

_TERM = re.compile(r"^\s*([A-Za-z_][\w.-]*)\s*(?:\((.*)\))?\s*$", re.DOTALL)
_UNIFORM_PLUS = re.compile(r"/uniform\+(?=[@/+]|\s*$)")
LISTING = "sparsebench list methods"


@dataclass(frozen=True)
class Method:
    """A resolved method: every argument has its value."""

    name: str
    """Canonical text; of the arguments only those that were written are repeated in it."""
    scorer: Scorer | None
    regime: str
    regime_arguments: dict[str, Any] = field(default_factory=dict)
    modifiers: tuple[tuple[str, dict[str, Any]], ...] = ()

    @property
    def is_dense(self) -> bool:
        return self.regime == "dense"

    @property
    def fixed_sparsity(self) -> float | None:
        """The only sparsity an N:M method can have; None = any."""
        pattern = split_allocation(self.scorer.allocation)[1] if self.scorer else None
        return 1 - pattern.density if isinstance(pattern, NM) else None

    def applies_at(self, sparsity: float) -> bool:
        return self.fixed_sparsity is None or isclose(sparsity, self.fixed_sparsity)

    def phases(self, sparsity: float) -> list[Phase]:
        """What to do to reach a sparsity.

        Raises:
            UsageError: N:M weights would pass through another sparsity than their own.
        """
        return [phase for phase, _ in self.steps(sparsity)]

    def steps(self, sparsity: float) -> tuple[tuple[Phase, str], ...]:
        """Each phase and its description as canonical JSON; worked out once for all tasks and seeds."""
        key = repr(sparsity)  # 0 and 0.0 are equal and written differently
        if key not in self._steps:
            phases = list(regime.get(self.regime)(self.scorer, sparsity, **self.regime_arguments))
            for name, arguments in self.modifiers:
                phases = modifier.get(name)(phases, **arguments)
            check_phases(self.name, phases)
            self._steps[key] = tuple((phase, canonical(describe(phase))) for phase in phases)
        return self._steps[key]

    @cached_property
    def _steps(self) -> dict[str, tuple[tuple[Phase, str], ...]]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Without the steps: a job that is sent to a worker stays small."""
        return {name: value for name, value in vars(self).items() if name != "_steps"}

    def fingerprint(self) -> dict[str, Any]:
        """The choices that papers leave out, see ``sparsebench.fingerprint``."""
        return fingerprint(self.scorer, self.regime, self.regime_arguments, self.modifiers, self.phases)


def parse(text: str, defaults: Mapping[str, Mapping[str, Any]] | None = None) -> Method:
    """Read a method string; ``defaults`` are a board's values for arguments that the string leaves open.

    ``/global`` is the default allocation, the regime's default is the criterion's own; both ways of writing
    them are one method with one canonical name.

    Raises:
        UsageError: a name or argument is unknown, or the combination makes no sense (the message says why).

    >>> parse("magnitude/erk@imp(rate=0.5)").name
    'magnitude/erk@imp(rate=0.5)'
    >>> parse("snip").name, parse("rigl").regime
    ('snip@init', 'rigl')
    """
    head, *mods = _split(text, "+")
    scoring, *rest = _split(head, "@")
    if len(rest) > 1 or not scoring.strip():
        raise _malformed(text)
    first, _ = _term(scoring.partition("/")[0] if "/" in scoring else scoring, text)
    if first in regime.entries and first not in criterion.entries:
        if rest or "/" in scoring:
            raise UsageError(f"method {text!r}: {first} is a regime, not a criterion: {_usage(regime.entry(first))}")
        scoring, regime_text = "", scoring
    elif rest:
        regime_text = rest[0]
    else:
        regime_text = criterion.entry(first).traits.get("regime", "finetune") if first in criterion.entries else ""
    if scoring and first not in criterion.entries:
        raise unknown("method", first, [*criterion.entries, *regime.entries], LISTING)
    regime_name, regime_arguments = _term(regime_text, text)
    scorer = _scorer(scoring, text, defaults) if scoring else None
    check_regime(regime.entry(regime_name), scorer, text)
    resolved = _resolve(regime.entry(regime_name), regime_arguments, text, defaults)
    if "allocation" in resolved:
        check_moving(str(resolved["allocation"]), text)
    check_arguments(resolved, text)
    written = [_term(mod, text) for mod in mods]
    names = [name for name, _ in written]
    if len(set(names)) < len(names):
        raise UsageError(f"method {text!r}: a modifier is written twice; once is enough")
    modifiers = tuple((name, _resolve(modifier.entry(name), arguments, text, defaults)) for name, arguments in written)
    canonical = _write(regime_name, regime_arguments)
    if scorer:
        rule = "" if scorer.allocation == default_allocation(scorer.criterion) else f"/{scorer.allocation}"
        canonical = _write(*_term(_split(scoring, "/")[0], text)) + f"{rule}@{canonical}"
    canonical += "".join(f"+{_write(name, arguments)}" for name, arguments in written)
    method = Method(canonical, scorer, regime_name, resolved, modifiers)
    method.phases(method.fixed_sparsity or 0.5)  # a modifier that does not fit this regime says so now
    return method


def from_file(path: str, wanted: str | None = None, imported: bool = True) -> list[str]:
    """Method strings for a user's file: the one wanted, its ``METHODS``, or each criterion with its own regime.

    ``imported=False`` reads its syntax tree and runs nothing of it.

    Raises:
        UsageError: the file cannot be imported (path, line, error) or defines no method.
    """
    names = register(path, imported)
    if wanted:
        return [wanted]
    declared = _declared_methods(Path(path))
    if declared:
        return declared
    methods = [n for n in names if n in criterion.entries]
    if not methods:
        raise UsageError(
            f"{path} defines no criterion and no METHODS list: decorate a function with @criterion "
            "(see docs/adding_a_method.md)"
        )
    return methods


def register(path: str, imported: bool = True) -> list[str]:
    """Read and import a user's file of criteria, regimes and modifiers; returns what it defines."""
    file = Path(path).resolve()
    names = [name for registry in (criterion, solver, regime, modifier) for name in registry.add_file(file)]
    if imported:
        import_file(file)
    return names


def _declared_methods(file: Path) -> list[str]:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.Assign | ast.AnnAssign) and any(getattr(t, "id", "") == "METHODS" for t in targets):
            return list(ast.literal_eval(node.value))
    return []


def _scorer(text: str, whole: str, defaults: Mapping | None) -> Scorer:
    term, *rule = _split(text, "/")
    name, arguments = _term(term, whole)
    name, rule_name = split_method("/".join([name, *[r.strip() for r in rule]]), arguments)
    entry = criterion.entry(name)
    resolved = _resolve(entry, arguments, whole, defaults)
    check_limits(entry, resolved, whole)
    return Scorer(name, rule_name, resolved, entry.source_digest())


def _resolve(entry: Entry, arguments: dict[str, Any], text: str, defaults: Mapping | None) -> dict[str, Any]:
    for argument in arguments:
        if argument not in entry.params:
            known = ", ".join(entry.params) or "none"
            raise UsageError(
                f"method {text!r}: {entry.kind_name} has no argument {argument!r} (its arguments: {known})"
            )
    check_types(entry, arguments)
    board = {k: v for k, v in (defaults or {}).get(entry.name, {}).items() if k in entry.params}
    return {**entry.params, **board, **arguments}


def _usage(entry: Entry) -> str:
    """How a regime is written."""
    if entry.traits.get("criterion") != "none":
        return f"write it behind one, such as 'magnitude@{entry.name}'"
    more = (
        f", with its allocation as an argument: {entry.name}(allocation='uniform')"
        if "allocation" in entry.params
        else ""
    )
    return f"it has a rule of its own and stands alone{more}"


def _term(text: str, whole: str) -> tuple[str, dict[str, Any]]:
    """``name(key=value, ...)`` as name and arguments."""
    match = _TERM.match(text)
    if not match:
        raise _malformed(whole)
    name, inside = match.groups()
    try:
        call = ast.parse(f"f({inside or ''})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(k.arg is None for k in call.keywords):
            raise ValueError("a positional argument")
        return name, {k.arg: ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError):
        raise UsageError(f"method {whole!r}: arguments are written name=value, not {inside!r}") from None


def _split(text: str, mark: str) -> list[str]:
    """Split at a mark outside parentheses; the ``+`` of ``uniform+`` belongs to its name where no modifier follows."""
    parts, depth = [""], 0
    for position, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == mark and depth == 0 and not _UNIFORM_PLUS.match(text, max(0, position - len("/uniform"))):
            parts.append("")
        else:
            parts[-1] += char
    return parts


def _write(name: str, arguments: dict[str, Any]) -> str:
    """The inverse of ``_term``."""
    return f"{name}({','.join(f'{k}={v!r}' for k, v in arguments.items())})" if arguments else name


def _malformed(text: str) -> UsageError:
    return UsageError(
        f"method {text!r} is not of the form criterion/allocation@regime+modifier(args), such as 'magnitude/erk@init'"
    )
