"""Submission: the way of a stranger's method onto a board.

| command | does |
| --- | --- |
| ``sparsebench new NAME`` | writes a method's file and its test |
| ``sparsebench check FILE`` | holds the suite's contract against it, rule by rule |
| ``sparsebench submit FILE --board BOARD`` | gathers its records into a folder for a pull request |
| ``sparsebench validate FOLDER`` | what continuous integration does with such a folder, and with results |
"""

from __future__ import annotations

from importlib import import_module

_HOMES = {"check": "contract", "submit": "gather", "validate": "validation", "write_new": "new"}

__all__ = ["check", "submit", "validate", "write_new"]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(f"sparsebench.submission.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'sparsebench.submission' has no attribute {name!r}")
