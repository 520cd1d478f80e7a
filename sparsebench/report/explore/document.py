"""Document: template, styles, code and data as one HTML file that asks the network for nothing.

Colours, tables and the small helpers are those of the leaderboard's page; its views are in ``page/``.
"""

from __future__ import annotations

from typing import Any

from sparsebench.report.html.document import assembled, read

SHARED = ("dom", "format", "axes", "data", "theme")
"""Scripts of the leaderboard's page."""
SCRIPTS = (
    "state", "sets", "link", "pictures", "colours", "heat", "scatter", "bar", "evaluation", "models", "features",
    "local", "classes", "redundancy", "parallel", "samples", "main",
)  # fmt: skip


def document(payload: dict[str, Any], title: str) -> str:
    """The page of a payload."""
    code = [read("html", f"{name}.js") for name in SHARED] + [read("explore", f"{name}.js") for name in SCRIPTS]
    style = read("html", "page.css") + read("explore", "explore.css")
    return assembled(read("explore", "page.html"), code, style, payload, title)
