"""Methods: criterion, allocation, regime and modifiers, written as one string.

    criterion(args)/allocation@regime(args)+modifier(args)

``magnitude@imp``, ``magnitude/erk@init``, ``lamp@lrr(rate=0.5)``, ``rigl(alpha=0.2)``, ``snip@init+shuffle``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparsebench.allocation import allocation
from sparsebench.criteria import split_method
from sparsebench.errors import UsageError, unknown
from sparsebench.phases import Phase, Scorer
from sparsebench.registry import Entry, criterion, import_file, modifier, regime

_TERM = re.compile(r"^\s*([A-Za-z_][\w.-]*)\s*(?:\((.*)\))?\s*$", re.DOTALL)
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

    def phases(self, sparsity: float) -> list[Phase]:
        """What to do to reach a sparsity."""
        phases = list(regime.get(self.regime)(self.scorer, sparsity, **self.regime_arguments))
        for name, arguments in self.modifiers:
            phases = modifier.get(name)(phases, **arguments)
        return phases

    def fingerprint(self) -> dict[str, Any]:
        """The choices that papers leave out: scope, ties, mode, data and dtype of scoring, what is reset."""
        traits = criterion.entry(self.scorer.criterion).traits if self.scorer else {}
        data = f"{traits['per_class']} a class" if "per_class" in traits else traits.get("examples", "none")
        return {
            "criterion": self.scorer.criterion if self.scorer else None,
            "allocation": self.scorer.allocation if self.scorer else self.regime_arguments.get("allocation"),
            "regime": self.regime,
            "regime_arguments": self.regime_arguments,
            "modifiers": [list(m) for m in self.modifiers],
            "scope": "weights of convolution, linear and attention layers, classifier included",
            "count": "round(density * prunable), exact",
            "ties": "first in parameter order, then in flat index",
            "floor": traits.get("floor", 0),
            "scoring_mode": traits.get("mode", "eval"),
            "scoring_examples": data,
            "scoring_rounds": traits.get("rounds", 1),
            "source": self.scorer.source if self.scorer else None,
            "optimizer": "fresh at the start of every training, or the rewind point's",
            "data_order": "new in every training, equal between methods of one seed",
        }


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
    _check(regime.entry(regime_name), scorer, text)
    resolved = _resolve(regime.entry(regime_name), regime_arguments, text, defaults)
    if "allocation" in resolved:
        allocation.entry(str(resolved["allocation"]))
    _in_range(resolved, text)
    written = [_term(mod, text) for mod in mods]
    names = [name for name, _ in written]
    if len(set(names)) < len(names):
        raise UsageError(f"method {text!r}: a modifier is written twice; once is enough")
    modifiers = tuple((name, _resolve(modifier.entry(name), arguments, text, defaults)) for name, arguments in written)
    canonical = _write(regime_name, regime_arguments)
    if scorer:
        rule = "" if scorer.allocation == "global" else f"/{scorer.allocation}"
        canonical = _write(*_term(_split(scoring, "/")[0], text)) + f"{rule}@{canonical}"
    canonical += "".join(f"+{_write(name, arguments)}" for name, arguments in written)
    method = Method(canonical, scorer, regime_name, resolved, modifiers)
    method.phases(0.5)  # a modifier that does not fit this regime says so now
    return method


def from_file(path: str, wanted: str | None = None) -> list[str]:
    """Method strings for a user's file: the one wanted, its ``METHODS``, or each criterion with its own regime.

    Raises:
        UsageError: the file cannot be imported (path, line, error) or defines no method.
    """
    names = register(path)
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


def register(path: str) -> list[str]:
    """Read and import a user's file of criteria, regimes and modifiers; returns what it defines."""
    file = Path(path).resolve()
    names = [name for registry in (criterion, regime, modifier) for name in registry.add_file(file)]
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
    return Scorer(name, rule_name, _resolve(entry, arguments, whole, defaults), entry.source_digest())


def _check(entry: Entry, scorer: Scorer | None, text: str) -> None:
    """Refuse what makes no sense, with the reason."""
    if entry.traits.get("criterion") == "none" and scorer:
        raise UsageError(
            f"method {text!r}: {entry.name} has a rule of its own and takes no criterion; write {entry.name!r}"
        )
    if entry.traits.get("criterion", "any") == "any" and not scorer:
        raise UsageError(f"method {text!r}: {entry.name} needs a criterion, such as 'magnitude@{entry.name}'")
    if scorer and entry.traits.get("single_round") and criterion.entry(scorer.criterion).traits.get("rounds", 1) > 1:
        raise UsageError(
            f"method {text!r}: {scorer.criterion} prunes in "
            f"{criterion.entry(scorer.criterion).traits['rounds']} rounds of its own, "
            f"{entry.name} brings its own schedule; use {scorer.criterion}@init"
        )


def _resolve(entry: Entry, arguments: dict[str, Any], text: str, defaults: Mapping | None) -> dict[str, Any]:
    for argument in arguments:
        if argument not in entry.params:
            known = ", ".join(entry.params) or "none"
            raise UsageError(
                f"method {text!r}: {entry.kind_name} has no argument {argument!r} (its arguments: {known})"
            )
    board = {k: v for k, v in (defaults or {}).get(entry.name, {}).items() if k in entry.params}
    return {**entry.params, **board, **arguments}


def _in_range(arguments: dict[str, Any], text: str) -> None:
    """Refuse values that no training can follow."""
    for name in ("rate", "rewind", "begin", "end", "alpha", "zeta"):
        value = arguments.get(name)
        if value is not None and not (isinstance(value, int | float) and 0 <= value <= 1):
            raise UsageError(f"method {text!r}: {name}={value!r} is a fraction and must be in [0, 1]")
    if arguments.get("rewind") == 1:
        raise UsageError(f"method {text!r}: rewind=1 is the end of training, nothing would be left to train; give less")
    if arguments.get("begin", 0) >= arguments.get("end", 1):
        raise UsageError(f"method {text!r}: begin must lie before end, so that there are steps to prune in")
    epochs = arguments.get("epochs")
    if epochs is not None and not (isinstance(epochs, int | float) and 0 < epochs < float("inf")):
        raise UsageError(f"method {text!r}: epochs={epochs!r} is a multiple of the task's epochs and must be positive")
    every = arguments.get("every")
    if every is not None and not (isinstance(every, int) and every >= 1):
        raise UsageError(f"method {text!r}: every={every!r} counts optimiser steps and must be at least 1")


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
    """Split at a mark outside parentheses."""
    parts, depth = [""], 0
    for char in text:
        depth += (char == "(") - (char == ")")
        if char == mark and depth == 0:
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
