"""Corruptions: 15 ways in which a test image may be spoilt, each in 5 severities, as batched tensor functions.

The kinds are those of Hendrycks and Dietterich, arXiv:1903.12261; algorithms and strengths are our own, so numbers are
not comparable with CIFAR-10-C. A kind is a function with ``@corruption(levels=...)`` in a file of this folder:

    f(x, level, draw) -> y        x, y: float [N, C, H, W] in [0, 1]; level: of the severity; draw: random numbers

C may be 1 or 3 (other numbers of channels are treated one by one), H and W anything. Nothing but ``draw`` is random,
and every image has numbers of its own: what becomes of it does not depend on the batch it is in.
"""

from __future__ import annotations

from sparsebench.registry import Registry

corruption = Registry("corruption", "sparsebench.corruptions", "docs/corruptions.md")

SEVERITIES = 5
SETS = ("sample5", "full")
"""``sample5``: every test image at every severity, each time under another kind; ``full``: under everything."""
SEED = 0
"""Of all random numbers. A set is the same for all cells, whatever their seeds."""
