"""Boards: bad input is named by file, line and key before anything runs."""

from __future__ import annotations

import pytest

from sparsebench.errors import UsageError
from sparsebench.grid import board as boards

GOOD = """\
name: small
version: 1
title: "A small board"
tasks: [digits-mlp]
methods: [magnitude@imp, rigl]
sparsities: [0.9, 0.5]
seeds: [1, 0, 1]
defaults: {imp: {rate: 0.5}}
"""


def board(text: str = GOOD):
    return boards.from_text(text, "b.yaml")


def test_cells_are_tasks_by_methods_by_sparsities_by_seeds_with_one_dense_row():
    small = board()
    assert [m.name for m in small.methods] == ["dense", "magnitude@imp", "rigl"]
    assert (small.sparsities, small.seeds) == ((0.5, 0.9), (0, 1))
    assert len(small.cells) == 2 + 2 * 2 * 2
    assert len({cell.id for cell in small.cells}) == len(small.cells)
    assert {small.dense_of(cell).id for cell in small.cells} == {c.id for c in small.cells if c.method.is_dense}


def test_two_ways_of_writing_a_method_are_one_row():
    twice = board(GOOD.replace("rigl]", "magnitude/global@imp]"))
    assert [m.name for m in twice.methods] == ["dense", "magnitude@imp"]


def test_defaults_may_come_before_or_after_the_methods():
    lines = GOOD.splitlines()
    first = board("\n".join([lines[-1], *lines[:-1]]))
    assert [c.id for c in first.cells] == [c.id for c in board().cells]
    assert first.methods[1].regime_arguments["rate"] == 0.5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds: [1, 0, 1]", "seeds: [1, 0", r"b\.yaml, line \d+: not valid YAML"),
        ("version: 1", "version: 1\nversion: 2", "line 3: version: already given in line 2"),
        ("title:", "titel:", "line 3: unknown key 'titel': did you mean 'title'"),
        ("title:", "3: x\ntitle:", "line 3: unknown key '3'"),
        ("version: 1\n", "", "the key 'version' is missing"),
        ("version: 1", "version: yes", "line 2: version: is True"),
        ("version: 1", "version: 0", "line 2: version: is 0"),
        ("name: small", "name: ../small", "line 1: name: is '../small'; it becomes a folder"),
        ("[digits-mlp]", "digits-mlp", "line 4: tasks: is 'digits-mlp'; a list is wanted"),
        ("[digits-mlp]", "[digits-mpl]", "line 4: tasks: unknown task 'digits-mpl': did you mean 'digits-mlp'"),
        ("[digits-mlp]", "[7]", "line 4: tasks: unknown task '7'"),
        ("[digits-mlp]", "[digits-mlp, digits-mlp]", "line 4: tasks: task 'digits-mlp' is listed twice"),
        ("[digits-mlp]", "[{base: digits-mlp}]", "line 4: tasks: .*name of its own"),
        ("[digits-mlp]", "[{base: digits-mlp, name: m, recipe: {epoch: 3}}]", "line 4: tasks: task 'm'.*epoch"),
        ("[digits-mlp]", "[]", "no tasks, so the grid is empty"),
        ("rigl]", "rig]", "line 5: methods: unknown method 'rig': did you mean 'rigl'"),
        ("[0.9, 0.5]", "[1.0]", r"line 6: sparsities: sparsity 1\.0 is not in \[0, 1\)"),
        ("[0.9, 0.5]", "[true]", "line 6: sparsities: sparsity True"),
        ("[0.9, 0.5]", "[]", "no sparsities, so the grid is empty"),
        ("[1, 0, 1]", "[]", "no seeds, so the grid is empty"),
        ("[1, 0, 1]", "[0.5]", r"line 7: seeds: seed 0\.5"),
        ("[1, 0, 1]", "[-1]", "line 7: seeds: seed -1"),
        ("{imp: {rate: 0.5}}", "[imp]", r"line 8: defaults: is \['imp'\]; a mapping"),
        ("{imp: {rate: 0.5}}", "{impp: {rate: 0.5}}", "line 8: defaults: unknown .*'impp': did you mean 'imp'"),
        ("{imp: {rate: 0.5}}", "{imp: {rat: 0.5}}", "line 8: defaults: regime 'imp' has no argument 'rat'"),
        ("{imp: {rate: 0.5}}", "{imp: {rate: 2}}", "line 5: methods: .*rate=2 is a fraction"),
    ],
)
def test_a_wrong_board_is_named_by_file_line_and_key(old, new, message):
    assert old in GOOD
    with pytest.raises(UsageError, match=message):
        board(GOOD.replace(old, new))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text"])
def test_what_is_no_mapping_is_no_board(text):
    with pytest.raises(UsageError, match=r"b\.yaml: a board is a mapping"):
        board(text)


def test_files_and_names(tmp_path):
    (tmp_path / "mine.yaml").write_text(GOOD)
    assert boards.load(str(tmp_path / "mine.yaml")).name == "small"
    with pytest.raises(UsageError, match=r"gone\.yaml does not exist"):
        boards.load(str(tmp_path / "gone.yaml"))
    (tmp_path / "latin.yaml").write_bytes(GOOD.replace("small", "gr\xfcn").encode("latin-1"))
    with pytest.raises(UsageError, match=r"latin\.yaml: cannot be read"):
        boards.load(str(tmp_path / "latin.yaml"))
    with pytest.raises(UsageError, match="unknown board 'quik': did you mean 'quick'"):
        boards.load("quik")


@pytest.mark.parametrize("name", boards.names())
def test_every_shipped_board_loads(name):
    assert boards.load(name).name == name


def test_narrowed():
    quick = boards.load("quick")
    some = quick.narrowed(methods=["snip"], tasks=["digits-mlp", "digits-mlp"], seeds=[2], sparsities=[0.75])
    assert [cell.label for cell in some.cells] == ["digits-mlp dense 0 seed 2", "digits-mlp snip@init 0.75 seed 2"]
    for wrong, message in (
        ({"tasks": ["digits-mlpp"]}, "unknown task 'digits-mlpp': did you mean 'digits-mlp'"),
        ({"tasks": []}, "no tasks"),
        ({"seeds": []}, "no seeds"),
        ({"seeds": [-1]}, "seed -1"),
        ({"seeds": [7]}, "has the seeds 0, 1, 2, not 7: a board is frozen"),
        ({"sparsities": [0.5]}, r"has the sparsities 0\.75, 0\.9375, 0\.98, not 0\.5"),
        ({"sparsities": [1.5]}, r"sparsity 1\.5"),
        ({"methods": ["nip"]}, "did you mean 'snip'"),
    ):
        with pytest.raises(UsageError, match=message):
            quick.narrowed(**wrong)


def test_a_cell_keeps_its_name_until_something_that_decides_it_changes():
    cells = {c.label: c.id for c in board().cells}
    other = {c.label: c.id for c in board(GOOD.replace("rate: 0.5", "rate: 0.25")).cells}
    changed = {label for label in cells if cells[label] != other[label]}
    assert changed == {label for label in cells if "imp" in label}
    renamed = board(GOOD.replace("name: small", "name: other"))
    assert {c.id for c in renamed.cells} == set(cells.values())


def test_a_method_may_be_for_some_of_the_tasks():
    text = """
name: some
version: 1
title: Some
tasks: [digits-mlp, digits-resnet8]
methods: [magnitude@init, {method: bn_scale, tasks: [digits-resnet8]}]
sparsities: [0.5]
seeds: [0, 1]
"""
    board = boards.from_text(text, "some.yaml")
    cells = {(cell.task.name, cell.method.name) for cell in board.cells}
    assert ("digits-resnet8", "bn_scale@finetune") in cells
    assert ("digits-mlp", "bn_scale@finetune") not in cells
    assert ("digits-mlp", "magnitude@init") in cells
    assert board.info()["limits"] == {"bn_scale@finetune": ["digits-resnet8"]}
    with pytest.raises(UsageError, match=r"some.yaml, line 6: methods: unknown task 'digits-mlq'"):
        boards.from_text(text.replace("tasks: [digits-resnet8]}", "tasks: [digits-mlq]}"), "some.yaml")
    with pytest.raises(UsageError, match=r"line 6: methods: is \{'method': 'bn_scale'\}"):
        boards.from_text(text.replace(", tasks: [digits-resnet8]}", "}"), "some.yaml")
