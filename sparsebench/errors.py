"""Errors a user can mend: each names the value, the rule and the remedy, and ends without a traceback."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SparsebenchError(Exception):
    """Something went wrong that the message explains (exit code 1)."""


class UsageError(SparsebenchError, ValueError):
    """The user asked for something that does not exist or makes no sense (exit code 2)."""


def unknown(kind: str, name: str, known: Iterable[str], where: str) -> UsageError:
    """The error for a name that is not known, with the nearest one that is.

    >>> str(unknown("method", "magnitud", ["magnitude", "random"], "sparsebench list methods"))
    "unknown method 'magnitud': did you mean 'magnitude'? (all of them: sparsebench list methods)"
    """
    near = get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    hint = f": did you mean {near[0]!r}?" if near else ""
    return UsageError(f"unknown {kind} {name!r}{hint} (all of them: {where})")
