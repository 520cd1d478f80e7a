"""leaderboard.html: one file that holds the page, its data and its code, and asks the network for nothing.

``payload`` picks what the page shows, ``document`` puts it together with the files of ``page/`` (HTML, CSS and plain
JavaScript, in the order of ``document.SCRIPTS``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparsebench.report import Standing
    from sparsebench.report.kept import Kept

LIMIT = 8_000_000
"""Bytes of a page beyond which details are left out; 9,930 synthetic cells of forty layers took 6.3 MB."""


def page(standing: Standing, records: Sequence[Kept], limit: int = LIMIT) -> str:
    """The page as HTML; it depends on the records alone, so the same records give the same bytes.

    Args:
        standing: the numbers.
        records: the records behind them, see :func:`sparsebench.report.kept.kept`.
        limit: bytes; a page that is larger without any details is written all the same.
    """
    from sparsebench.report.html.document import document
    from sparsebench.report.html.payload import DETAILS, payload, without

    data, title = payload(standing, records), standing.board["title"]
    text = document(data, title)
    for count in range(1, len(DETAILS) + 1):
        if len(text.encode()) <= limit:
            break
        text = document(without(data, list(DETAILS)[:count]), title)
    return text
