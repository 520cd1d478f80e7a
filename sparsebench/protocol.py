"""The protocol version: raised by hand whenever a change of code changes numbers, so old cells get new names."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

PROTOCOL = 1
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values have equal text.

    >>> canonical({"b": 1, "a": (0.5, None)})
    '{"a":[0.5,null],"b":1}'
    """
    return _ENCODER.encode(value)


def name_of(value: Any) -> str:
    """A 16-digit name for a value, the hash of its canonical JSON and the protocol version."""
    return name_of_text(canonical(value))


def name_of_text(text: str) -> str:
    """The name of the value with this canonical text.

    >>> name_of_text('{"a":1}') == name_of({"a": 1})
    True
    """
    return sha256(object_text(protocol=str(PROTOCOL), value=text).encode()).hexdigest()[:16]


def object_text(**texts: str) -> str:
    """The canonical text of an object from those of its values: what many objects share is written once.

    >>> object_text(b="1", a="[0.5]") == canonical({"b": 1, "a": [0.5]})
    True
    """
    return "{" + ",".join(f'"{key}":{texts[key]}' for key in sorted(texts)) + "}"


def list_text(texts: Iterable[str]) -> str:
    """The canonical text of a list from those of its items."""
    return "[" + ",".join(texts) + "]"


def derived_seed(seed: int, *purpose: Any) -> int:
    """A seed for one purpose, independent of those for others.

    >>> derived_seed(0, "order", 1) == derived_seed(0, "order", 1) != derived_seed(0, "init")
    True
    """
    return int.from_bytes(sha256(canonical([seed, *purpose]).encode()).digest()[:6], "big")
