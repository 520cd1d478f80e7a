"""Regimes: when pruning happens and what follows, as a list of phases. One file each.

A regime is a generator ``regime(scorer, sparsity, *, arguments)``. Traits of the decorator: ``criterion``
is ``"any"`` (default) or ``"none"`` for regimes that bring their own rule. Caching, resuming and auditing
belong to the runner.
"""
