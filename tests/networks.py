"""Small networks of every kind, seeded, and two labelled batches for them: those of ``sparsebench check``."""

from sparsebench.submission.networks import NETWORKS, batches, network

__all__ = ["NETWORKS", "batches", "network"]
