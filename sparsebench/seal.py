"""Seal: the digest that a JSON object carries, so that an edit is noticed, and a quick way to find that it holds.

A digest goes over canonical text, as Python's encoder writes it. orjson reads and writes many times faster, and writes
the same text but for floats below 0.0001 and letters beyond ASCII (before 3.11.7 also floats from 1e16). Those small
floats are put right; where the text then has the digest, it is the canonical one, and nothing else can have been read.
Where it has not, nothing is concluded: the slow way decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import orjson

from sparsebench.protocol import canonical

FIELD = "digest"
# Both patterns begin with fixed characters, which is what lets a search skip through the text.
_SMALL = re.compile(rb"0\.0000\d+")
_SHORT_EXPONENT = re.compile(rb"e-(\d)(?!\d)")


def digest(data: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON (sorted keys, no spaces) without the field ``digest`` itself.

    Raises:
        ValueError: a number is not finite.
    """
    return sha256(canonical(_covered(data)).encode()).hexdigest()


def if_sealed(text: bytes) -> dict[str, Any] | None:
    """The JSON object in a text, if its digest is found to hold the quick way; None says nothing.

    >>> if_sealed(b'{"b": 1e-05, "digest": "%s"}' % digest({"b": 1e-05}).encode())["b"]
    1e-05
    >>> if_sealed(b'{"b": 2e-05, "digest": "%s"}' % digest({"b": 1e-05}).encode())
    """
    try:
        data = orjson.loads(text)
        written = _as_python_writes(orjson.dumps(_covered(data), option=orjson.OPT_SORT_KEYS))
    except (ValueError, TypeError, AttributeError):
        return None
    return data if sha256(written).hexdigest() == data.get(FIELD) else None


def _covered(data: Mapping[str, Any]) -> dict[str, Any]:
    """All that a digest goes over."""
    return {key: value for key, value in data.items() if key != FIELD}


def _as_python_writes(text: bytes) -> bytes:
    """orjson's text with the floats that Python writes otherwise: 0.000012 as 1.2e-05, 1e-7 as 1e-07.

    >>> _as_python_writes(b'[0.000012,-0.00001,10.00001,1.5e-7,1e-10,"0.00001 e-7"]')
    b'[1.2e-05,-1e-05,10.00001,1.5e-07,1e-10,"0.00001 e-7"]'
    """
    if b"\\" in text:
        return text  # an escaped quote would hide where strings end
    if b"0.0000" in text:
        text = _SMALL.sub(_small, text)
    if b"e-" in text:
        text = _SHORT_EXPONENT.sub(_exponent, text)
    return text


def _small(found: re.Match[bytes]) -> bytes:
    whole = found[0]
    begins = not found.string[found.start() - 1 : found.start()].isdigit()
    return repr(float(whole)).encode() if begins and _is_number(found) else whole


def _exponent(found: re.Match[bytes]) -> bytes:
    return b"e-0" + found[1] if _is_number(found) else found[0]


def _is_number(found: re.Match[bytes]) -> bool:
    """Not within a string: as many quotes have opened as closed."""
    return found.string.count(b'"', 0, found.start()) % 2 == 0
