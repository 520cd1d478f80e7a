"""Forms: one cell's network dense, masked, shrunk, 2:4, to be timed side by side."""

from __future__ import annotations

from copy import deepcopy

import torch

from sparsebench.errors import UsageError
from sparsebench.functional import prune
from sparsebench.grid.load import StoredCell
from sparsebench.grid.state import noise
from sparsebench.latency import Variants, variants
from sparsebench.masks import Masks
from sparsebench.scope import scope_of

SHRUNK = "shrunk"


def forms(stored: StoredCell, sparsity: float, dtype: str = "float32") -> Variants:
    """Every form there is, in one precision, and the reason for every other one.

    Cells that mask single weights have no smaller network of their own: in its place stands the dense network without
    as many weights in whole units, chosen by ``l1``.
    """
    loaded, whole = stored.loaded, stored.whole.to(getattr(torch, dtype))
    if loaded.masks is None and loaded.structure is None:
        found = variants(whole, Masks.dense(whole, scope_of(whole).prunable))
        del found.networks["masked"]
    else:
        masks = loaded.structure if loaded.masks is None else loaded.masks
        found = variants(whole, masks.to(next(whole.parameters()).device))
    if loaded.masks is None:
        if stored.is_smaller:
            found.networks[SHRUNK] = loaded.net.to(getattr(torch, dtype))
        return found
    small, example = deepcopy(whole).float(), noise(stored.data.input_shape)
    try:
        prune(small, "l1", sparsity=sparsity, data=example)
        found.networks[SHRUNK] = small.to(getattr(torch, dtype))
    except UsageError as error:
        found.missing[SHRUNK] = str(error)
    return found
