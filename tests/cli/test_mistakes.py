"""Whatever is typed wrong ends in one line that names it and the remedy, with exit code 2 and no traceback."""

from __future__ import annotations

import pytest

from sparsebench.cli import main

GOOD = "name: mine\nversion: 1\ntitle: t\ntasks: [digits-mlp]\nmethods: [snip]\nsparsities: [0.5]\nseeds: [0]\n"


def said(capsys, *words: str) -> str:
    """Run a command that must be refused; returns its one line."""
    assert main(list(words)) == 2
    output = capsys.readouterr()
    lines = output.err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("sparsebench: ")
    assert output.out == ""
    return lines[0]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("rnu quick", "unknown command 'rnu': did you mean 'run'?"),
        ("run quik", "unknown board 'quik': did you mean 'quick'? (all of them: sparsebench list boards)"),
        ("run no/such.yaml", "board file no/such.yaml does not exist"),
        ("run quick --methods magnitud@imp", "unknown method 'magnitud': did you mean 'magnitude'?"),
        ("run quick --methods magnitude@ipm", "unknown regime 'ipm': did you mean 'imp'?"),
        ("run quick --methods snip@init+shuffel", "unknown modifier 'shuffel': did you mean 'shuffle'?"),
        ("run quick --methods magnitude/erkk", "unknown allocation 'erkk': did you mean 'erk'?"),
        ("run quick --methods dense+reinit", "nothing to reinit"),
        ("run quick --tasks digits-mlpp", "unknown task 'digits-mlpp': did you mean 'digits-mlp'?"),
        ("run quick --wrokers 2", "unknown option '--wrokers': did you mean '--workers'?"),
        ("run quick --workers 0", "--workers 0: at least 1 is needed"),
        ("run quick --workers many", "--workers"),
        ("run quick --launcher locl", "unknown launcher 'locl': did you mean 'local'?"),
        ("run quick --accelerator tpu", "'tpu' is not one of auto, cpu, gpu"),
        ("run quick --seeds -1", "seed -1 is not a whole number of 0 or more"),
        ("run quick --seeds 9", "board 'quick' has the seeds 0, 1, 2, not 9"),
        ("run quick --seeds a", "--seeds"),
        ("run quick --sparsities 1.0", "sparsity 1.0 is not in [0, 1)"),
        ("run quick --sparsities -0.1", "sparsity -0.1 is not in [0, 1)"),
        ("run", "board"),
        ("status quik", "unknown board 'quik'"),
        ("report quick", "no records below results/quick; make some: sparsebench run quick"),
        ("list metods", "unknown kind of thing to list 'metods': did you mean 'methods'?"),
        ("show 0123", "no record '0123'"),
        ("run quick --methods nowhere.py", "nowhere.py: cannot be read"),
    ],
)
def test_mistyped(words, expected, capsys):
    assert expected in said(capsys, *words.split())


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("seeds: [0]", "seeds: []", "no seeds, so the grid is empty"),
        ("sparsities: [0.5]", "sparsities: [1.5]", "line 6: sparsities: sparsity 1.5 is not in [0, 1)"),
        ("tasks: [digits-mlp]", "tasks: [digit-mlp]", "line 4: tasks: unknown task 'digit-mlp'"),
        ("methods: [snip]", "methods: [snop]", "line 5: methods: unknown method 'snop'"),
        ("seeds:", "seds:", "line 7: unknown key 'seds': did you mean 'seeds'?"),
        ("title: t\n", "", "the key 'title' is missing"),
        ("tasks: [digits-mlp]", "tasks: [digits-mlp", "not valid YAML"),
    ],
)
def test_a_malformed_board_names_file_line_and_key(old, new, expected, capsys, tmp_path):
    (tmp_path / "mine.yaml").write_text(GOOD.replace(old, new))
    line = said(capsys, "run", "mine.yaml")
    assert "mine.yaml" in line
    assert expected in line
    assert not (tmp_path / ".sparsebench").exists(), "refused before anything was made"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def broken(:\n", "broken.py, line 1"),
        ("import nothing_of_that_name\n", "broken.py, line 1: ModuleNotFoundError"),
        ("x = 1\n", "defines no criterion and no METHODS list"),
        (
            'from sparsebench import criterion\n\n@criterion(needs="weight")\ndef magnitude(w):\n    return w\n',
            "criterion 'magnitude' is already defined in",
        ),
    ],
)
def test_a_broken_method_file_is_named(text, expected, capsys, tmp_path):
    (tmp_path / "broken.py").write_text(text)
    assert expected in said(capsys, "run", "quick", "--methods", "broken.py")


def test_a_store_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    line = said(capsys, "run", "quick", "--tasks", "digits-mlp", "--store", "file/store")
    assert "store file/store cannot be written" in line


def test_missing_data_is_named_before_any_work(capsys, tmp_path):
    (tmp_path / "mine.yaml").write_text(GOOD.replace("digits-mlp", "cifar10-resnet20"))
    line = said(capsys, "run", "mine.yaml", "--data", str(tmp_path / "data"))
    assert str(tmp_path / "data") in line
    assert "--download" in line
    assert not list((tmp_path / ".sparsebench").rglob("*.json"))


def test_a_damaged_record_is_named(capsys, tmp_path):
    folder = tmp_path / "results" / "quick" / "dense"
    folder.mkdir(parents=True)
    (folder / "0123456789abcdef.json").write_text('{"schema": 1,')
    assert main(["show", "0123"]) == 1
    assert "0123456789abcdef.json: not a JSON file" in capsys.readouterr().err
