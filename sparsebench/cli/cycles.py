"""Cycles: where Python's search for garbage in cycles does not pay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for cycles, where many objects are made and few cycles: imports, plans, tables.

    Neither right after it, where all that was made counts as old; unless somebody has frozen objects of theirs, which
    must stay so.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()
        if was_on:
            gc.enable()
