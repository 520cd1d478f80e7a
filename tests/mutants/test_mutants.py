"""The known-bug pack: each mistake of docs/known_bugs.md, made on purpose in a copy, fails the tests it names."""

from __future__ import annotations

import doctest

import pytest

from sparsebench.audit import RULES
from tests.mutants import mutant as mutant_module
from tests.mutants import runner
from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import Moved, Mutant
from tests.mutants.page import PAGE, page
from tests.mutants.runner import Run, server
from tests.mutants.sandbox import ROOT, mutated, wheel_layout

pytestmark = [pytest.mark.mutants, pytest.mark.slow]

KILLERS = sorted({test for mutant in MUTANTS for test in mutant.killed_by})
NOTHING = Mutant(
    name="nothing",
    file="sparsebench/stats/__init__.py",
    edits={'"""Statistics of the leaderboard': '"""Statistics of a leaderboard'},
    seen="",
    effect="",
    rule=None,
    killed_by=("tests/test_stats.py::test_spearman_is_scipys",),
)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A copy of the package without a mistake."""
    return wheel_layout(tmp_path_factory.mktemp("mutants") / "clean")


@pytest.fixture(scope="module")
def forks():
    with server() as running:
        yield running


@pytest.fixture(scope="module")
def sound(clean, forks) -> Run:
    """All tests that kill, on the copy without a mistake."""
    return forks.run(clean, KILLERS, seconds=600)


def test_the_tests_that_kill_pass_without_a_mistake(sound):
    assert sound.verdict == "survived", sound.text


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_killed(mutant, sound, clean, forks, tmp_path):
    found = forks.run(mutated(clean, mutant, tmp_path / "copy"), mutant.killed_by)
    assert found.verdict == "killed", f"{mutant.seen}\n{found.text}"
    assert not found.without_failure(mutant.killed_by), f"these tests do not see it\n{found.text}"


def test_a_change_without_effect_survives(sound, clean, forks, tmp_path):
    assert forks.run(mutated(clean, NOTHING, tmp_path / "copy"), NOTHING.killed_by).verdict == "survived"


WHERE = """
import subprocess, sys
import sparsebench

FOLDER = {folder!r}

def test_here():
    assert sparsebench.__file__.startswith(FOLDER)

def test_in_a_process_of_its_own():
    code = (
        "import sparsebench, importlib.util as u;"
        "print(sparsebench.__file__, *(u.find_spec('sparsebench.' + n).origin for n in ('callbacks', 'benchmarks')))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True)
    assert all(path.startswith(FOLDER) for path in found.stdout.split()), found.stdout
"""


def test_the_copy_is_what_is_tested_also_in_processes_that_tests_start(sound, clean, forks, tmp_path):
    folder = mutated(clean, NOTHING, tmp_path / "copy")
    (folder / "tests" / "test_where.py").write_text(WHERE.format(folder=str(folder)))
    found = forks.run(folder, ["tests/test_where.py"])
    assert found.verdict == "survived", found.text


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("def test_x():\n    assert False", "killed"),
        ("def test_x():\n    undefined", "no verdict: tests/test_odd.py::test_x failed NameError"),
        ("import nowhere", "no verdict: pytest ended with 2"),
        ("def other():\n    pass", "no verdict: pytest ended with 5"),
        ("import time\n\ndef test_x():\n    time.sleep(60)", "no verdict: pytest ended with None"),
    ],
    ids=["fails", "broken", "not collected", "no test", "hangs"],
)
def test_only_a_test_that_fails_is_a_kill(body, verdict, clean, forks):
    (clean / "tests" / "test_odd.py").write_text(body)
    try:
        assert forks.run(clean, ["tests/test_odd.py"], seconds=5).verdict == verdict
    finally:
        (clean / "tests" / "test_odd.py").unlink()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_still_fits_the_code(mutant):
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert mutant.apply(source) != source


def test_code_that_has_moved_is_named():
    with pytest.raises(Moved, match=r"'nothing'.*sparsebench/stats/__init__\.py has the text to change 0 times.*anew"):
        NOTHING.apply("something else")
    with pytest.raises(Moved, match="2 times"):
        NOTHING.apply(2 * next(iter(NOTHING.edits)))


@pytest.mark.parametrize("module", [mutant_module, runner], ids=["mutant", "runner"])
def test_examples(module):
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


def test_there_are_many_and_no_two_of_a_name():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 35
    assert {mutant.rule for mutant in MUTANTS} - {None} <= set(RULES)
    assert not [mutant.name for mutant in MUTANTS if "|" in mutant.seen + mutant.effect]


def test_the_page_is_what_the_catalogue_gives():
    assert PAGE.read_text(encoding="utf-8") == page(), "docs/known_bugs.md is old: run python -m tests.mutants.page"
