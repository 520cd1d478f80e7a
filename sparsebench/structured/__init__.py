"""Structured pruning: whole filters, neurons and attention heads, removed physically.

A **unit** is one output channel of a convolution, one neuron of a linear layer or one attention head. Units that
residual sums, concatenations or depthwise convolutions tie together are decided together: they form a **group**, found
through the dependency graph of torch-pruning (Fang et al. 2023, arXiv:2301.12900). Removing a unit removes its
filter, its bias and norm entries, and its input slice of every consumer.

Masks of structured pruning are in dense coordinates and hold biases and norm parameters too, so that a masked unit is
exactly zero and ``shrink`` gives a smaller network with the same outputs.
"""

from sparsebench.structured.expand import expand
from sparsebench.structured.groups import unit_groups, units_left_out
from sparsebench.structured.products import compose, structured_count
from sparsebench.structured.scores import unit_scores
from sparsebench.structured.search import Searched, UnitBudget
from sparsebench.structured.selection import UnitPruning, misses, structured_masks, structured_pruning
from sparsebench.structured.shrink import shrink, units_of
from sparsebench.structured.units import Member, UnitGroup

__all__ = [
    "Member",
    "Searched",
    "UnitBudget",
    "UnitGroup",
    "UnitPruning",
    "compose",
    "expand",
    "misses",
    "shrink",
    "structured_count",
    "structured_masks",
    "structured_pruning",
    "unit_groups",
    "unit_scores",
    "units_left_out",
    "units_of",
]
