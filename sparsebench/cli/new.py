"""``sparsebench new NAME``"""

from __future__ import annotations

from pathlib import Path

from sparsebench.submission.new import write_new


def command(arguments) -> int:
    method, test = write_new(arguments.name, arguments.kind, arguments.to)
    print(f"{method}\n{test}")
    print(f"\nNext: pytest {test}\n      sparsebench check {method}")
    print(f"      sparsebench run quick --methods {Path(method)} --tasks digits-mlp --seeds 0")
    return 0
