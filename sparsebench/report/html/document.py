"""Document: template, styles, code and data as one HTML file.

The content security policy allows the one script and the one style sheet whose hashes it names, and no connection:
a text that slipped through as markup could neither run nor call home.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

SCRIPTS = (
    "dom", "format", "data", "state", "table", "filters", "ranking", "accuracy", "numbers", "axes", "curves",
    "pareto", "heat", "panel", "record", "theme", "main",
)  # fmt: skip
PLAIN = 1_000_000
"""Characters of data that are embedded as readable JSON; more are compressed."""


def document(payload: dict[str, Any], title: str) -> str:
    """The page of a payload."""
    code = [read("html", f"{name}.js") for name in SCRIPTS]
    return assembled(read("html", "page.html"), code, read("html", "page.css"), payload, title)


def assembled(template: str, code: Iterable[str], style: str, payload: dict[str, Any], title: str) -> str:
    """One file of a template, scripts that share a scope, a style sheet and the data."""
    script = "(() => {\n'use strict';\n" + "\n".join(code) + "\n})();\n"
    rules = {
        "default-src": "'none'", "script-src": _allow(script), "style-src": _allow(style), "img-src": "data:",
        "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip
    kind, data = embedded(payload)
    return Template(template).substitute(
        policy="; ".join(f"{name} {value}" for name, value in rules.items()),
        title=escape(title),
        style=style,
        kind=kind,
        data=data,
        script=script,
    )


def read(page: str, name: str) -> str:
    """A file of a page's folder, ``sparsebench/report/<page>/page``."""
    return files(f"sparsebench.report.{page}").joinpath("page", name).read_text(encoding="utf-8")


def embedded(payload: dict[str, Any]) -> tuple[str, str]:
    """Media type and text of the data block.

    No text in it can end the block or be read as markup: in JSON, ``<``, ``>`` and ``&`` are written as escapes.

    >>> embedded({"error": "</script><b>"})
    ('application/json', '{"error":"\\\\u003c/script\\\\u003e\\\\u003cb\\\\u003e"}')
    """
    text = json.dumps(payload, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    if len(text) <= PLAIN:
        return "application/json", text
    return "application/gzip", base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def _allow(source: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(source.encode()).digest()).decode()}'"
