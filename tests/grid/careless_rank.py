"""A method file with which the second of two ranks does what the audit forbids."""

from __future__ import annotations

import sparsebench.grid.perform as perform
import sparsebench.grid.stages as stages
from sparsebench.ranks import rank

METHODS = ["snip@init"]
hashed, gathered = perform.state_hash, stages.gather
perform.state_hash = lambda net: hashed(net) if rank() == 0 else object()
stages.gather = lambda value: gathered(f"{value} of rank {rank()}" if isinstance(value, str) else value)
