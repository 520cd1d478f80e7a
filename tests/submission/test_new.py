"""New files run as they are: their own tests pass, and so does every rule."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module, invalidate_caches

import pytest

from sparsebench.errors import UsageError
from sparsebench.submission.new import check_name, write_new
from sparsebench.submission.templates import TEMPLATES


@pytest.mark.parametrize("kind", TEMPLATES)
def test_the_test_that_is_written_passes(kind, tmp_path, monkeypatch):
    name = f"fresh_{kind}"
    method, test = write_new(name, kind, tmp_path)
    assert (method.name, test.name) == (f"{name}.py", f"test_{name}.py")
    monkeypatch.syspath_prepend(tmp_path)
    invalidate_caches()
    tests = {n: f for n, f in vars(import_module(f"test_{name}")).items() if n.startswith("test_")}
    assert len(tests) >= 2
    for function in tests.values():
        function()


@pytest.mark.parametrize("kind", TEMPLATES)
def test_it_teaches(kind, tmp_path):
    method, _ = write_new(f"taught_{kind}", kind, tmp_path)
    text = method.read_text()
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    said = " ".join(ast.get_docstring(function) or "" for function in functions)
    assert all(ast.get_docstring(function) for function in functions)
    assert "Gets" in said
    assert any(word in said for word in ("Returns", "returns", "Yields"))
    assert "sparsebench check taught_" in text
    assert ("larger = keep" in text) == (kind in ("criterion", "units", "solver"))


def test_nothing_is_overwritten(tmp_path):
    write_new("fresh", "criterion", tmp_path)
    (tmp_path / "fresh.py").unlink()
    (tmp_path / "test_fresh.py").write_text("mine")
    with pytest.raises(UsageError, match=r"test_fresh.py is there already"):
        write_new("fresh", "criterion", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["test_fresh.py"]
    assert (tmp_path / "test_fresh.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("my-method", "try 'my_method'"),
        ("My Method", "try 'my_method'"),
        ("2fast", "try 'method_2fast'"),
        ("", "letters"),
        ("../x", "letters"),
        ("my_method.py", r"without \.py"),
        ("class", "Python has a meaning"),
        ("list", "Python has a meaning"),
        ("magnitude", "there is a criterion of this name"),
        ("imp", "there is a regime of this name"),
        ("shuffle", "there is a modifier of this name"),
        ("json", "a module of this name is installed"),
        ("torch", "a module of this name is installed"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused_with_the_reason(name, why):
    with pytest.raises(UsageError, match=why):
        check_name(name)


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(UsageError, match="did you mean 'regime'"):
        write_new("fresh", "regim", tmp_path)


def test_torch_is_not_imported(tmp_path):
    code = (
        "import sys\nfrom sparsebench.cli import main\n"
        "assert main(['new', 'fresh']) == 0\nassert not {'torch', 'lightning'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
