"""The protocol version: raised by hand whenever a change of code changes numbers, so old cells get new names."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

PROTOCOL = 1


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values have equal text.

    >>> canonical({"b": 1, "a": (0.5, None)})
    '{"a":[0.5,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def name_of(value: Any) -> str:
    """A 16-digit name for a value, the hash of its canonical JSON and the protocol version."""
    return sha256(canonical({"protocol": PROTOCOL, "value": value}).encode()).hexdigest()[:16]


def derived_seed(seed: int, *purpose: Any) -> int:
    """A seed for one purpose, independent of those for others.

    >>> derived_seed(0, "order", 1) == derived_seed(0, "order", 1) != derived_seed(0, "init")
    True
    """
    return int.from_bytes(sha256(canonical([seed, *purpose]).encode()).digest()[:6], "big")
