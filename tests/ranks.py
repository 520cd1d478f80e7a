"""Ranks as threads of one process: those of ``sparsebench check``."""

from sparsebench.submission.threads import as_ranks

__all__ = ["as_ranks"]
