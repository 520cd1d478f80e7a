"""New: a method's file and its test, to start from."""

from __future__ import annotations

import builtins
import keyword
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from sparsebench.errors import UsageError, unknown
from sparsebench.files import write_atomic
from sparsebench.registry import criterion, modifier, regime, solver
from sparsebench.submission.templates import CHECKED, HEAD, TEMPLATES

REGISTRIES = (criterion, solver, regime, modifier)


def write_new(name: str, kind: str = "criterion", folder: str | Path = ".") -> list[Path]:
    """Write ``NAME.py`` and ``test_NAME.py``; nothing is imported and nothing overwritten.

    Raises:
        UsageError: an unknown kind, a name that cannot be one, or a file that is there already.
    """
    if kind not in TEMPLATES:
        raise unknown("kind", kind, TEMPLATES, "sparsebench new --help")
    check_name(name)
    template = TEMPLATES[kind]
    texts = {f"{name}.py": template.method, f"test_{name}.py": HEAD + template.test + CHECKED}
    paths = {Path(folder, file): text.replace("NAME", name) for file, text in texts.items()}
    for path in paths:
        if path.exists():
            raise UsageError(f"{path} is there already and is not overwritten: delete it, or choose another name")
    return [write_atomic(path, text) for path, text in paths.items()]


def check_name(name: str) -> None:
    """Refuse a name that a method, a module or a folder cannot have.

    Raises:
        UsageError: the name, the reason, and where there is one a name that would do.

    >>> check_name("my-method")
    Traceback (most recent call last):
        ...
    sparsebench.errors.UsageError: name 'my-method': letters a-z, digits and underscores are wanted, ... try 'my_method'
    """
    if name.endswith(".py"):
        raise UsageError(f"name {name!r}: the name of the method is wanted, without .py: {name.removesuffix('.py')!r}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        near = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        near = near if re.match(r"[a-z]", near) else f"method_{near}".rstrip("_")
        raise UsageError(
            f"name {name!r}: letters a-z, digits and underscores are wanted, beginning with a letter, since it becomes "
            f"a function, a file and a folder; try {near!r}"
        )
    if keyword.iskeyword(name) or hasattr(builtins, name):
        raise UsageError(f"name {name!r}: Python has a meaning for it; try {name + '_pruning'!r}")
    for registry in REGISTRIES:
        if name in registry.entries:
            raise UsageError(
                f"name {name!r}: there is a {registry.kind} of this name already ({registry.listing}); choose another"
            )
    if name in sys.stdlib_module_names or _installed(name):
        raise UsageError(f"name {name!r}: a module of this name is installed, which the file would hide; try another")


def _installed(name: str) -> bool:
    """Whether ``import NAME`` finds something that does not lie in the working folder."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return False
    here = Path.cwd().resolve()
    return spec is not None and not (spec.origin and Path(spec.origin).resolve().parent == here)
