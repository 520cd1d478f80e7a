"""``sparsebench card``: where it writes, what it reads of a user's file, and what it does not import."""

from __future__ import annotations

import subprocess
import sys

import pytest

METHOD = '''
"""Scaled: magnitude in units of the layer's spread.

    score = |w| / std(w)^power
"""
import torch

from sparsebench import criterion


@criterion(needs="weight")
def scaled_for_a_card(weight, *, power=1.0):
    return weight.abs() / weight.std() ** power
'''


def test_it_prints_markdown(sparsebench, tmp_path):
    code, out, err = sparsebench("card", "lamp")
    assert (code, err) == (0, "")
    assert out.startswith("# `lamp@finetune`\n")
    assert not list(tmp_path.iterdir()), "asking left something behind"


def test_the_name_of_the_file_decides_the_format(sparsebench, tmp_path):
    assert sparsebench("card", "lamp", "--to", "lamp.html")[:2] == (0, "lamp.html\n")
    assert (tmp_path / "lamp.html").read_text().startswith("<!doctype html>")
    assert sparsebench("card", "lamp", "--format", "html")[1].startswith("<!doctype html>")
    sparsebench("card", "lamp", "--to", "deep/lamp.md")
    assert (tmp_path / "deep/lamp.md").read_text().startswith("# `lamp@finetune`")


def test_a_user_s_file(sparsebench, tmp_path):
    (tmp_path / "mine.py").write_text(METHOD)
    code, out, _ = sparsebench("card", "mine.py:scaled_for_a_card@imp")
    assert code == 0
    assert "score = |w| / std(w)^power" in out
    assert "sparsebench show mine.py:scaled_for_a_card@imp" not in out, "show takes no files"
    assert "| criterion `scaled_for_a_card` | `power` | `1.0` |" in out
    (tmp_path / "mine.py").write_text(METHOD + '\nMETHODS = ["scaled_for_a_card@imp", "magnitude@lrr"]\n')
    code, _, err = sparsebench("card", "mine.py")
    assert code == 2
    assert "defines 2 methods and a card is about one: name it, as in mine.py:scaled_for_a_card@imp" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lamb"], "unknown method 'lamb': did you mean 'lamp'?"),
        (["lamp", "--format", "pdf"], "unknown format 'pdf'"),
        (["lamp", "--to", "lamp.pdf"], "--to lamp.pdf: a card is md or html"),
        (["lamp", "--to", "."], "--to . is a folder"),
        (["lamp", "--bord", "quick"], "unknown option '--bord': did you mean '--board'?"),
        (["missing.py"], "cannot be read"),
    ],
)
def test_mistakes(sparsebench, words, message):
    code, out, err = sparsebench("card", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_nothing_heavy_is_imported(tmp_path):
    (tmp_path / "mine.py").write_text(METHOD)
    code = (
        "import sys\nfrom sparsebench.cli import main\n"
        "codes = [main(['card', m]) for m in ('snip', 'obc', 'taylor', 'imp', 'mine.py:scaled_for_a_card@gmp')]\n"
        "print('HEAVY', codes, sorted({'torch', 'lightning', 'matplotlib', 'safetensors'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.splitlines()[-1] == "HEAVY [0, 0, 0, 0, 0] []", done.stderr
