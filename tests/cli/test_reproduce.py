"""``reproduce`` as it is typed: the list, a small recipe run and rendered, mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

RECIPE = '''"""Random pruning at initialisation against the dense network."""
from sparsebench.papers import Claim, Finding, Paper, Point, Recipe


def worse(e):
    found = e.paired("top1", "dense", "random@init", task="digits-mlp", sparsity=0.98).scaled(100)
    return Finding([Point("digits-mlp at 98 %", found, holds=found.above(0), refuted=found.below(0), unit="points")])


RECIPE = Recipe(
    paper=Paper("A small paper", "N. N.", 2020, "arXiv:2000.00001", "Sparse is worse."),
    version=1,
    smoke=dict(title="one method", tasks=["digits-mlp"], methods=["random@init"], sparsities=[0.98], seeds=[0, 1]),
    full=dict(title="one method", tasks=["cifar10-mlp"], methods=["random@init"], sparsities=[0.98], seeds=[0, 1]),
    claims=[Claim("worse", "Sparse is worse", worse, rule="the paired interval is above 0", source="abstract")],
)
'''


@pytest.fixture
def recipe(sparsebench) -> str:
    Path("small.py").write_text(RECIPE, encoding="utf-8")
    return "small.py"


def test_all_papers_are_listed_with_their_state(sparsebench):
    code, out, err = sparsebench("reproduce")
    assert (code, err) == (0, "")
    assert "not run" in out
    assert "arXiv:2212.06145" in out


def test_a_recipe_is_run_rendered_and_done(sparsebench, recipe):
    code, out, err = sparsebench("reproduce", recipe, "--launcher", "inline", "--logger", "none")
    assert code == 0, err
    assert "reproduced        worse: Sparse is worse" in out
    assert "page: results/papers/small/smoke.md" in out
    page = Path("results/papers/small/smoke.md").read_text(encoding="utf-8")
    assert "4 of 4 cells, seeds 0, 1." in page
    assert "4 of 4 records pass the audit" in page

    code, out, err = sparsebench("reproduce", recipe)
    assert code == 0
    assert "nothing to do" in out
    Path("results/papers/small/smoke.md").unlink()
    code, out, err = sparsebench("reproduce", recipe, "--render")
    assert code == 0
    assert Path("results/papers/small/smoke.md").read_text(encoding="utf-8") == page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reproduce", "appp"], "unknown paper 'appp'"),
        (["reproduce", "none.py"], "recipe file none.py does not exist"),
        (["reproduce", "small.py", "--scale", "ful"], "unknown scale 'ful': did you mean 'full'?"),
        (["reproduce", "small.py", "--render"], "no records of small at scale smoke in results/papers/small"),
        (["reproduce", "small.py", "--rendr"], "did you mean '--render'?"),
        (["reproduce", "empty.py"], "a recipe's file defines RECIPE"),
    ],
)
def test_mistakes_end_in_one_line(sparsebench, recipe, words, said):
    Path("empty.py").write_text("", encoding="utf-8")
    code, out, err = sparsebench(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
