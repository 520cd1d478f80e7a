"""Document: template, styles, code and data as one HTML file that asks the network for nothing.

Colours, tables and the small helpers are those of the leaderboard's page; its views are in ``page/``.
"""

from __future__ import annotations

import base64
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from sparsebench.report.html.document import embedded

SHARED = ("dom", "format", "axes", "data", "theme")
"""Scripts of the leaderboard's page."""
SCRIPTS = (
    "state", "sets", "link", "pictures", "colours", "heat", "scatter", "bar", "evaluation", "models", "features",
    "local", "classes", "redundancy", "parallel", "samples", "main",
)  # fmt: skip


def document(payload: dict[str, Any], title: str) -> str:
    """The page of a payload."""
    code = [read("html", f"{name}.js") for name in SHARED] + [read("explore", f"{name}.js") for name in SCRIPTS]
    script = "(() => {\n'use strict';\n" + "\n".join(code) + "\n})();\n"
    style = read("html", "page.css") + read("explore", "explore.css")
    rules = {
        "default-src": "'none'", "script-src": allowed(script), "style-src": allowed(style), "img-src": "data:",
        "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip
    kind, data = embedded(payload)
    return Template(read("explore", "page.html")).substitute(
        policy="; ".join(f"{name} {value}" for name, value in rules.items()),
        title=escape(title),
        style=style,
        kind=kind,
        data=data,
        script=script,
    )


def read(page: str, name: str) -> str:
    return files(f"sparsebench.report.{page}").joinpath("page", name).read_text(encoding="utf-8")


def allowed(source: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(source.encode()).digest()).decode()}'"
