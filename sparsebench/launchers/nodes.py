"""Nodes: what another machine must share with this one before it may work on a run."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

from sparsebench.grid.jobs import Context
from sparsebench.provenance import PACKAGES

MARK = ".seen-by-nodes"
"""Beginning of the name of a file in the store that every node must see while a run lasts."""


@dataclass(frozen=True)
class Shared:
    """What this machine has, for the others to compare."""

    mark: Path
    """A file in the store."""
    code: str
    versions: tuple[tuple[str, str | None], ...]
    methods: tuple[tuple[str, str], ...]
    """The user's method files and their digests."""
    data: str | None
    """The folder of the data sets, if the user named one."""


def anywhere(context: Context) -> Context:
    """The context with paths that mean the same in every working folder."""
    from sparsebench.data import data_root

    return replace(
        context,
        store=str(Path(context.store).absolute()),
        method_files=tuple(str(Path(file).absolute()) for file in context.method_files),
        hardware=replace(context.hardware, data_root=str(data_root(context.hardware.data_root).absolute())),
    )


def share(context: Context) -> Shared:
    """Leave a mark in the store, and write down what the others must have; ``end`` takes the mark away."""
    mark = Path(context.store).absolute() / f"{MARK}.{uuid4().hex}"
    mark.touch()
    return Shared(
        mark,
        digest(source_files()),
        package_versions(),
        tuple((str(Path(file).absolute()), digest([Path(file)])) for file in context.method_files),
        context.hardware.data_root and str(Path(context.hardware.data_root).expanduser().absolute()),
    )


def end(shared: Shared) -> None:
    with suppress(OSError):
        shared.mark.unlink()


def complaint(shared: Shared) -> str | None:
    """Why this machine may not work on a run, and the remedy; None if it may."""
    mine = shared.mark.with_name(f"{shared.mark.name}.{uuid4().hex}")
    if not shared.mark.exists():
        return f"does not see the store {shared.mark.parent}: choose a --store on a file system that all nodes share"
    try:
        mine.touch()
        mine.unlink()
    except OSError as error:
        return f"cannot write to the store {shared.mark.parent} ({error.strerror}): choose another with --store"
    if digest(source_files()) != shared.code:
        return "has another version of sparsebench (its files differ): install the same one on all nodes"
    here = dict(package_versions())
    if others := [f"{name} {here[name]}, not {there}" for name, there in shared.versions if here[name] != there]:
        return f"has other packages ({'; '.join(others)}): cells of one board must be computed by the same versions"
    for file, expected in shared.methods:
        if not Path(file).is_file() or digest([Path(file)]) != expected:
            return f"does not see {file} as it is here: put it on a file system that all nodes share"
    if shared.data and not Path(shared.data).is_dir():
        return f"has no folder {shared.data}: name by --data one that is on every node"
    return None


def source_files() -> list[Path]:
    """The files of this package that stages are computed with."""
    specs = [find_spec("sparsebench"), find_spec("sparsebench.callbacks")]
    return [path for spec in specs for folder in spec.submodule_search_locations for path in python_files(Path(folder))]


def python_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix())


def digest(files: Iterable[Path]) -> str:
    """Of names and contents; the folders they lie in do not count."""
    parts = (f"{path.name} {sha256(path.read_bytes()).hexdigest()}\n" for path in files)
    return sha256("".join(parts).encode()).hexdigest()


def package_versions() -> tuple[tuple[str, str | None], ...]:
    """The versions that a record states, which must be those of its dense cell."""

    def found(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    return ("python", platform.python_version()), *((package, found(package)) for package in PACKAGES)
