"""A user's mistake: one line that names it and the remedy, the right exit code, nothing computed."""

from __future__ import annotations

from pathlib import Path

import pytest

BOARD = """\
name: small
version: 1
title: Small board
tasks: [digits-mlp]
methods: [magnitude@finetune]
sparsities: [0.5]
seeds: [0]
"""

MISTAKES = {
    # what is typed: what the one line must say
    "runn quick": ["unknown command 'runn'", "'run'", "sparsebench --help"],
    "--hlep": ["unknown option '--hlep'", "'--help'"],
    "run": ["board", "required"],
    "run quik": ["unknown board 'quik'", "'quick'", "sparsebench list boards"],
    "run gone.yaml": ["gone.yaml does not exist"],
    "run .": ["unknown board '.'", "sparsebench list boards"],
    "status quik": ["unknown board 'quik'", "'quick'"],
    "report quik": ["unknown board 'quik'", "'quick'"],
    "run quick extra": ["unrecognized arguments: extra"],
    "run quick -x": ["unrecognized arguments: -x"],
    "run quick --sed 3": ["unknown option '--sed'", "'--seeds'", "sparsebench run --help"],
    "list methods --jsn": ["unknown option '--jsn'", "'--json'"],
    "list": ["kind", "required"],
    "list method": ["unknown kind", "'method'", "'methods'"],
    "run quick --methods magnitud": ["unknown method 'magnitud'", "'magnitude'", "sparsebench list methods"],
    "run quick --methods magnitude@finetun": ["unknown regime 'finetun'", "'finetune'"],
    "run quick --methods magnitude/erkk@imp": ["unknown allocation 'erkk'", "'erk'"],
    "run quick --methods magnitude@imp+shufle": ["unknown modifier 'shufle'", "'shuffle'"],
    "run quick --methods magnitude@imp(rat=0.5)": ["no argument 'rat'", "rate"],
    "run quick --methods magnitude@imp(rate=2)": ["rate=2", "[0, 1]"],
    "run quick --methods magnitude@rigl": ["rigl has a rule of its own"],
    "run quick --methods gone.py": ["gone.py", "cannot be read"],
    "run quick --methods": ["--methods", "at least one argument"],
    "run quick --tasks digits-mpl": ["unknown task 'digits-mpl'", "'digits-mlp'"],
    "run quick --sparsities 1.0": ["sparsity 1.0", "[0, 1)"],
    "run quick --sparsities -0.1": ["sparsity -0.1", "[0, 1)"],
    "run quick --sparsities nan": ["--sparsities", "nan"],
    "run quick --sparsities abc": ["--sparsities: expected float, got abc"],
    "run quick --sparsities": ["--sparsities", "at least one argument"],
    "run quick --seeds": ["--seeds", "at least one argument"],
    "run quick --seeds -1": ["seed -1", "0 or more"],
    "run quick --seeds 0.5": ["--seeds", "0.5"],
    "run quick --workers 0": ["--workers 0", "at least 1"],
    "run quick --workers two": ["--workers", "two"],
    "run quick --workers 2 3": ["unrecognized arguments: 3"],
    "run quick --threads 0": ["--threads 0", "at least 1"],
    "run quick --checkpoint-seconds soon": ["--checkpoint-seconds", "soon"],
    "run quick --launcher locl": ["unknown launcher 'locl'", "'local'"],
    "run quick --accelerator tpu": ["--accelerator 'tpu'", "auto, cpu, gpu"],
    "run quick --store board.yaml": ["store board.yaml", "cannot be written", "--store"],
    "run quick --store board.yaml/below": ["cannot be written", "--store"],
    "run quick --results board.yaml": ["results folder", "cannot be written", "--results"],
    "run unclosed.yaml": ["unclosed.yaml, line", "not valid YAML"],
    "run typo.yaml": ["typo.yaml, line 3", "unknown key 'titel'", "'title'"],
    "run empty.yaml": ["no seeds, so the grid is empty"],
    "run sparse.yaml": ["sparse.yaml, line 6", "sparsities", "[0, 1)"],
    "run nothing.yaml": ["a board is a mapping"],
    "show": ["cell", "required"],
    "show abc": ["no record 'abc'"],
    "show magnitud@imp": ["did you mean 'magnitude'"],
    "show /abc": ["cell id '/abc' is not one"],
    "show *": ["cell id '*' is not one"],
    "show ../../x": ["cell id '../../x' is not one"],
    "export abc --to x.pt": ["no record 'abc'"],
    "export abc": ["--to", "required"],
    "latency abc": ["no record 'abc'"],
    "latency abc --accelerator tpu": ["--accelerator 'tpu' is not one of auto, cpu, gpu"],
    "latency abc --batch-sizes many": ["--batch-sizes", "int"],
    "report quick": ["no records below results/quick", "sparsebench run quick"],
}


@pytest.fixture
def boards(sparsebench, tmp_path):
    """Boards that are right and wrong, in the working folder."""
    texts = {
        "board": BOARD,
        "unclosed": BOARD.replace("seeds: [0]", "seeds: [0"),
        "typo": BOARD.replace("title:", "titel:"),
        "empty": BOARD.replace("seeds: [0]", "seeds: []"),
        "sparse": BOARD.replace("[0.5]", "[1.5]"),
        "nothing": "",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return sparsebench


def one_line(err: str) -> str:
    (line,) = err.splitlines()
    assert line.startswith("sparsebench: ")
    return line


@pytest.mark.parametrize("typed", MISTAKES)
def test_is_told_in_one_line(typed, boards, tmp_path):
    code, out, err = boards(*typed.split())
    line = one_line(err)
    assert code == 2
    assert out == ""
    assert "Traceback" not in line
    for words in MISTAKES[typed]:
        assert words in line
    assert not list(tmp_path.glob(".sparsebench/stages/*")), "something was computed"


def test_seeds_named_twice_are_one(boards):
    from sparsebench.grid import board

    assert board.load("quick").narrowed(seeds=[2, 2, 0]).seeds == (0, 2)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write")
@pytest.mark.parametrize("option", ["--store", "--results"])
def test_a_folder_that_cannot_be_written(option, boards):
    """Even root cannot make a folder there; refused before anything runs."""
    code, _, err = boards("run", "board.yaml", "--launcher", "inline", option, "/proc/nowhere")
    assert code == 2
    assert "/proc/nowhere" in one_line(err)
    assert "cannot be written" in err


def test_a_disk_that_fails_is_told_in_one_line(boards, monkeypatch):
    import sparsebench.cli.run as run

    def full(*_):
        raise OSError(28, "No space left on device", "results/small/leaderboard.md")

    monkeypatch.setattr(run, "run", full)
    code, _, err = boards("run", "board.yaml", "--launcher", "inline")
    assert code == 1
    assert one_line(err) == "sparsebench: results/small/leaderboard.md: No space left on device"


def test_ctrl_c_anywhere_ends_in_one_line(boards, monkeypatch):
    import sparsebench.cli.status as status

    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "command", stop)
    code, _, err = boards("status", "quick")
    assert code == 130
    assert one_line(err).startswith("sparsebench: stopped")


GOOD = '''
from sparsebench import criterion


@criterion(needs="weight")
def {name}(weight):
    """Doc."""
    return weight.abs()
'''
FILES = {
    "syntax": ("def broken(:\n", ["syntax.py, line 1", "invalid syntax"]),
    "missing": ("import gone_package\n", ["missing.py, line 1", "ModuleNotFoundError", "gone_package"]),
    "raises": ("x = 1\n\ny = x / 0\n", ["raises.py, line 3", "ZeroDivisionError"]),
    "empty": ("", ["empty.py defines no criterion", "docs/adding_a_method.md"]),
    "taken": (GOOD.format(name="magnitude"), ["taken.py, line 6", "'magnitude' is already defined", "rename"]),
    "twice": (GOOD.format(name="mine_twice") * 2, ["twice.py", "'mine_twice'"]),
    "computed": (GOOD.format(name="x").replace('"weight"', '"wei" + "ght"'), ["computed.py, line", "literals"]),
}


@pytest.mark.parametrize("name", FILES)
def test_a_method_file_that_is_wrong(name, boards, tmp_path):
    text, wanted = FILES[name]
    (tmp_path / f"{name}.py").write_text(text)
    code, _, err = boards("run", "quick", "--methods", f"{name}.py")
    assert code == 2
    line = one_line(err)
    for words in wanted:
        assert words in line


def test_two_files_that_define_one_name(boards, tmp_path):
    for file in ("one", "two"):
        (tmp_path / f"{file}.py").write_text(GOOD.format(name="defined_in_two_files"))
    code, _, err = boards("run", "quick", "--methods", "one.py", "two.py")
    assert code == 2
    assert "two.py, line 6: criterion 'defined_in_two_files' is already defined in" in one_line(err)
    assert "one.py, line 6" in err


def test_a_wanted_method_that_the_file_does_not_define(boards, tmp_path):
    (tmp_path / "mine.py").write_text(GOOD.format(name="wanted_by_name"))
    code, _, err = boards("run", "quick", "--methods", "mine.py:wanted_by_nam")
    assert code == 2
    assert "unknown method 'wanted_by_nam': did you mean 'wanted_by_name'" in one_line(err)
