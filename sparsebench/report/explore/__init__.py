"""explore.html: linked views of what a board's networks make of single images; one file, no network, no torch.

``arrays`` reads what the measure ``geometry`` kept, ``payload`` picks what the page shows, ``models`` lays out the
networks by their geometry, ``sprite`` packs the images, ``document`` puts all together with the files of ``page/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsebench.record import Record

MEASURE = "geometry"


def page(
    board: Mapping[str, Any],
    records: Sequence[Record],
    kept: Path,
    seeds: Sequence[int] | None = None,
    how: str = "pca",
) -> str:
    """The page as HTML; the same records and arrays give the same bytes.

    Args:
        board: ``Board.info`` and the command that runs it.
        records: of the board's cells; those that failed or have no arrays are left out, and counted.
        kept: the folder of arrays, ``<store>/measures``.
        seeds: whose networks are shown image by image; the first one's alone without. The table is of all.
        how: layout of the networks, ``pca`` or ``umap``.

    Raises:
        UsageError: no task and seed has arrays of its dense network and of another.
    """
    from sparsebench.report.explore.document import document
    from sparsebench.report.explore.payload import payload

    return document(payload(board, records, kept, seeds, how), str(board["title"]))
