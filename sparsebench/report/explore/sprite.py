"""Sprite: many small images as one PNG in a data URI, tile beside tile."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np


def sprite(images_NCHW: np.ndarray) -> dict[str, Any]:
    """The picture, its size in pixels and tiles, and the size of a tile; image i is in column i mod columns.

    >>> one = sprite(np.zeros((5, 1, 8, 8), dtype=np.uint8))
    >>> one["columns"], one["rows"], one["tile"], one["src"][:22]
    (3, 2, [8, 8], 'data:image/png;base64,')
    """
    from PIL import Image

    n, channels, height, width = images_NCHW.shape
    columns = max(1, int(np.ceil(np.sqrt(n))))
    rows = -(-n // columns)
    sheet = np.zeros((rows * columns, channels, height, width), dtype=np.uint8)
    sheet[:n] = images_NCHW
    sheet = sheet.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    sheet = sheet.reshape(rows * height, columns * width, channels)
    file = io.BytesIO()
    Image.fromarray(sheet[..., 0] if channels == 1 else sheet).save(file, "PNG", optimize=True)
    source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return {"src": source, "columns": columns, "rows": rows, "tile": [width, height]}
