"""Loading runs no code: what is stored is safetensors and JSON, and nothing in the package unpickles a file."""

from __future__ import annotations

import ast
import json
import os
import pickle
from hashlib import sha256
from pathlib import Path

import pytest

import sparsebench
from sparsebench.grid import board as boards
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context
from sparsebench.grid.plan import plan
from sparsebench.grid.run import Result, run
from sparsebench.grid.store import Store
from tests.survival.workplace import MLP, board_text, content

PACKAGE = Path(sparsebench.__file__).parent
SOURCES = sorted({*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "callbacks").rglob("*.py")})
UNPICKLERS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
"""Modules whose files are programs."""
WAYS = {"load_from_checkpoint", "unsafe_load", "full_load", "load_module", "read_pickle", "eval", "exec"}
"""Functions that run what they read, whatever their arguments; ``net.eval()`` is a method and none of them."""


def offences(tree: ast.AST) -> list[str]:
    """Everything in a syntax tree by which a file could run code."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
            found += [f"import {name}" for name in modules if name.split(".")[0] in UNPICKLERS]
            if isinstance(node, ast.ImportFrom) and node.module in ("torch", "torch.serialization", "torch.jit"):
                found += [f"from {node.module} import load" for name in names if name == "load"]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if called == "torch.load" and options.get("weights_only") != "True":
                found.append(f"{called} without weights_only=True")
            if called in ("torch.jit.load", "torch.export.load", "torch.package.PackageImporter"):
                found.append(called)
            if called in ("np.load", "numpy.load") and options.get("allow_pickle", "False") != "False":
                found.append(f"{called} with allow_pickle")
            if called == "yaml.load":
                found.append(called)
            if called.endswith(".fit") and "ckpt_path" in options:
                safe = ast.parse(options.get("weights_only", "False"), mode="eval").body
                values = {safe} if not isinstance(safe, ast.IfExp) else {safe.body, safe.orelse}
                # None is Lightning's word for torch's default; it is allowed only where nothing is loaded.
                if not {ast.unparse(value) for value in values} <= {"True", "None"} or (
                    len(values) == 1 and (ast.unparse(safe) != "True")
                ):
                    found.append(f"{called} without weights_only=True")
            if called.split(".")[-1] in WAYS - {"eval", "exec"} or called in ("eval", "exec"):
                found.append(called)
    return found


def test_no_source_unpickles_a_file():
    found = {
        str(path.relative_to(PACKAGE.parent)): wrong
        for path in SOURCES
        if (wrong := offences(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert found == {}
    assert len(SOURCES) > 100


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from cloudpickle import loads",
        "from torch import load",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "torch.load(file, weights_only=safe)",
        "torch.jit.load(file)",
        "np.load(file, allow_pickle=True)",
        "yaml.load(text, Loader=loader)",
        "trainer.fit(module, ckpt_path=path)",
        "trainer.fit(module, ckpt_path=path, weights_only=None)",
        "Classifier.load_from_checkpoint(path)",
        "eval(text)",
    ],
)
def test_the_search_finds(source):
    assert offences(ast.parse(source))


@pytest.mark.parametrize("source", ["torch.load(file, weights_only=True)", "net.eval()", "yaml.safe_load(text)"])
def test_the_search_leaves_alone(source):
    assert not offences(ast.parse(source))


class Hostile:
    """Unpickled, it creates a file."""

    def __reduce__(self):
        return os.system, ("touch hacked",)


HOSTILE = pickle.dumps(Hostile(), protocol=2)


@pytest.fixture
def board(folder):
    text = board_text("magnitude@finetune", tasks=(MLP.format(2),))
    return boards.from_text(text, "small.yaml")


def compute(board, store: str) -> Result:
    return run(board, Context(store, Hardware(), "test"), 1, launcher="inline")


def test_hostile_files_run_nothing_and_are_set_aside(board):
    """A checkpoint, weights, a stage.json and records that are pickles."""
    assert not compute(board, "sound").failed
    expected = content("sound")
    pickle.loads(HOSTILE)
    Path("hacked").unlink()  # it would have worked

    (last,) = (chain[-1] for chain in plan(board.cells).chains.values() if len(chain) == 2)
    (first,) = {stage for chain in plan(board.cells).chains.values() for stage in chain} - {last}
    checkpoint = Store("store").create().stage(last) / "checkpoint.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(HOSTILE)
    assert not compute(board, "store").failed
    assert checkpoint.with_suffix(".damaged").read_bytes() == HOSTILE

    for file in ("weights.safetensors", "stage.json"):
        (Store("store").stage(first) / file).write_bytes(HOSTILE)
        for path in Path("store/records").glob("*.json"):
            path.write_bytes(HOSTILE)
        result = compute(board, "store")
        assert not result.failed
        assert any(first in note and "set aside" in note for note in result.notes)
        assert sum("not a JSON file" in note for note in result.notes) == len(board.cells)
    assert content("store") == expected
    assert not Path("hacked").exists()


def test_hostile_weights_with_a_digest_that_fits(board):
    """Whoever can write a digest can forge it; the file is still only read, and the cells say which it was."""
    assert not compute(board, "store").failed
    store = Store("store")
    (first,) = {chain[0] for chain in plan(board.cells).chains.values()}
    (store.stage(first) / "weights.safetensors").write_bytes(HOSTILE)
    report = json.loads((store.stage(first) / "stage.json").read_text())
    report["files"]["weights.safetensors"] = sha256(HOSTILE).hexdigest()
    (store.stage(first) / "stage.json").write_text(json.dumps(report))
    for path in store.records.glob("*.json"):
        path.unlink()
    result = compute(board, "store")
    assert any("weights.safetensors" in error for error in result.failed.values())
    assert not Path("hacked").exists()


@pytest.mark.parametrize(
    "text",
    ["[]", "null", '{"files": []}', '{"files": {"weights.safetensors": 3}}', "[" * 100_000],
    ids=["list", "null", "files are a list", "digest is a number", "deep"],
)
def test_a_stage_report_of_another_kind_is_damaged(folder, text):
    """Valid JSON that is no report must be set aside as a torn file is, not fail for ever."""
    store = Store("store").create()
    store.stage("aa").mkdir()
    (store.stage("aa") / "weights.safetensors").write_bytes(b"")
    (store.stage("aa") / "stage.json").write_text(text)
    assert store.set_aside_stage("aa") is not None
    assert not store.has_stage("aa")
