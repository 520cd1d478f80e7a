"""Arrows point down: what each floor may import, read from the syntax trees of all files."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sparsebench

PACKAGE = Path(sparsebench.__file__).parent
CALLBACKS = PACKAGE.parent / "callbacks"

FLOORS = [
    {"errors", "files", "stats", "protocol", "seal", "release"},
    {
        "registry",
        "ranks",
        "masks",
        "scope",
        "tree",
        "record",
        "agreement",
        "patterns",
        "allocation",
        "recipe",
        "phases",
        "snapshot",
        "trace",
    },
    {"activation", "selection", "scoring", "budget", "growth", "soft", "unfold", "batch_norm", "by_layer", "__init__"},
    {"calibration", "layerwise", "differentiation", "per_example", "wiring", "criteria", "structured"},
    {"functional", "export"},
    {"models", "data", "diet", "corruptions", "metrics", "latency"},
    {"measures"},
    {"callbacks", "regimes", "modifiers", "sensible", "fingerprint", "methods", "tasks"},
    {"provenance", "audit", "benchmarks", "grid", "launchers", "verify"},
    {"report"},
    {"papers"},
    {"submission"},
    {"cli", "__main__"},
]
"""A module may import from its own floor and from those before it."""
NO_LIGHTNING = {
    "masks",
    "scope",
    "allocation",
    "patterns",
    "stats",
    "selection",
    "criteria",
    "structured",
    "scoring",
    "calibration",
    "layerwise",
    "per_example",
    "differentiation",
    "by_layer",
    "wiring",
    "functional",
    "growth",
    "soft",
    "export",
    "latency",
}
NO_TORCH = {
    "report",
    "papers",
    "stats",
    "record",
    "agreement",
    "cli",
    "errors",
    "files",
    "protocol",
    "seal",
    "phases",
    "recipe",
    "registry",
    "allocation",
    "patterns",
    "sensible",
    "fingerprint",
    "methods",
    "tasks",
    "regimes",
    "modifiers",
}
NO_TORCH_FILES = {
    f"grid/{name}.py" for name in ("board", "cell", "plan", "drive", "jobs", "run", "store", "hardware", "rerun")
}
HEAVY = {"torch", "lightning", "torchvision", "torchmetrics", "safetensors"}


def files() -> list[Path]:
    return sorted([*PACKAGE.rglob("*.py"), *CALLBACKS.rglob("*.py")])


def part_of(path: Path) -> str:
    """The part of the package a file belongs to: ``grid`` for ``grid/plan.py``, ``masks`` for ``masks.py``."""
    if path.is_relative_to(CALLBACKS):
        return "callbacks"
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path, top: bool) -> set[str]:
    """Modules a file imports; ``top``: only what importing the file executes, without type-checking imports."""
    found, todo = set(), list(ast.parse(path.read_text(encoding="utf-8")).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        elif not (top and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))
    return found


def floor(part: str) -> int:
    return next(i for i, parts in enumerate(FLOORS) if part in parts)


def identity(path: Path) -> str:
    return path.relative_to(PACKAGE.parent).as_posix()


def test_every_part_has_a_floor():
    parts = {part_of(path) for path in files()}
    assert parts <= set().union(*FLOORS), "name the floor of a new part in FLOORS"


@pytest.mark.parametrize("path", files(), ids=identity)
def test_arrows_point_down(path):
    mine = floor(part_of(path))
    for name in imports(path, top=False):
        package, _, rest = name.partition(".")
        part = rest.partition(".")[0]
        if package == "sparsebench" and (PACKAGE / part).is_dir() | (PACKAGE / f"{part}.py").is_file() and part:
            assert floor(part) <= mine, f"{identity(path)} imports {name}, which lies above it"


@pytest.mark.parametrize("path", [p for p in files() if part_of(p) in NO_LIGHTNING], ids=identity)
def test_the_lower_floors_know_no_lightning(path):
    assert not any(name.split(".")[0] in ("lightning", "pytorch_lightning") for name in imports(path, top=False))


def light() -> list[Path]:
    return [p for p in files() if part_of(p) in NO_TORCH or identity(p).removeprefix("sparsebench/") in NO_TORCH_FILES]


@pytest.mark.parametrize("path", light(), ids=identity)
def test_what_a_leaderboard_needs_imports_no_torch(path):
    assert not {name.split(".")[0] for name in imports(path, top=True)} & HEAVY


COMMANDS = {
    "help": ["--help"],
    "run help": ["run", "--help"],
    "list methods": ["list", "methods"],
    "list boards": ["list", "boards", "--json"],
    "list tasks": ["list", "tasks"],
    "status": ["status", "quick"],
    "report": ["report", "quick", "--no-figures", "--results", "{results}"],
    "report html": ["report", "quick", "--no-figures", "--format", "html", "--results", "{results}"],
    "reproduce": ["reproduce"],
    "card": ["card", "snip", "--results", "{results}"],
    "new": ["new", "my_method"],
    "error": ["run", "quick", "--methods", "magnitud"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_light_commands_import_nothing_heavy(command, tmp_path, small_results):
    """What ``sparsebench`` really has imported when the command ends, in a process of its own."""
    code = (
        "import sys\n"
        "from sparsebench.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', sorted({HEAVY!r} & set(sys.modules)))\n"
    )
    argv = [word.format(results=small_results) for word in COMMANDS[command]]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stderr


@pytest.fixture(scope="module")
def small_results(tmp_path_factory) -> Path:
    from sparsebench.grid import board as boards
    from sparsebench.record import Record, record_path
    from tests.report.conftest import make_record

    results, board = tmp_path_factory.mktemp("results"), boards.load("quick")
    for method in ("dense", "magnitude@imp", "snip@init"):
        for seed in board.seeds:
            record = make_record("digits-mlp", method, 0.0 if method == "dense" else 0.75, seed, 0.9 - seed / 100)
            Record({**record.data, "board_version": board.version}).save(
                record_path(results, "quick", method, record.data["cell_id"])
            )
    return results
