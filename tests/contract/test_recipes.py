"""Every recipe: a paper with a link, boards that plan without torch, claims that are judged, tests that name them."""

from __future__ import annotations

import ast
import csv
import importlib
import json
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from sparsebench.errors import UsageError
from sparsebench.methods import parse
from sparsebench.papers import Claim, Evidence, Finding, Recipe, Verdict, recipe
from sparsebench.papers.check import same_pages
from sparsebench.record import Record, load_all
from sparsebench.verify import verify

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "papers"
NAMES = recipe.names()
HEAVY = ("torch", "lightning", "torchvision", "safetensors")
PLANNING = f"""
import json, sys
from sparsebench.grid.plan import plan
from sparsebench.papers import SCALES, recipe
found = {{}}
for name in recipe.names():
    for scale in SCALES:
        board = recipe.load(name).board(scale)
        stages = plan(board.cells).stages
        found[f"{{name}} {{scale}}"] = [len(board.cells), len(stages), sorted({{t.dataset for t in board.tasks}})]
print(json.dumps({{"boards": found, "heavy": sorted(set({HEAVY!r}) & set(sys.modules))}}))
"""


@pytest.fixture(scope="module")
def planned() -> dict:
    """What a process finds that does nothing but plan all recipes."""
    done = subprocess.run([sys.executable, "-c", PLANNING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def claims() -> list:
    return [pytest.param(name, claim, id=f"{name}-{claim.name}") for name in NAMES for claim in load(name).claims]


def load(name: str) -> Recipe:
    return recipe.load(name)


def is_table(claim: Claim) -> bool:
    """Made by ``published_table``: numbers of the paper's own setting."""
    return claim.judge.__qualname__.startswith("published_table.")


def verdicts(name: str, scale: str) -> dict[str, set[str]]:
    """Claim -> its verdict in the committed table, none where there is no table."""
    path, found = RESULTS / name / f"{scale}.csv", {}
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                found.setdefault(row["claim"], set()).add(row["verdict"])
    return found


def test_the_papers_that_were_promised_are_there():
    assert {"synflow", "rigl"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_file_says_what_it_is(name):
    text = (recipe.FOLDER / f"{name}.py").read_text(encoding="utf-8")
    paper = load(name).paper
    assert len(ast.get_docstring(ast.parse(text)) or "") > 200
    assert text.count("\n") <= 400
    assert all((paper.title, paper.authors, paper.says))
    assert 1980 <= paper.year <= 2030
    assert all(re.fullmatch(r"arXiv:\d{4}\.\d{4,5}|https?://\S+|doi:\S+", link) for link in paper.link.split(", "))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", recipe.SCALES)
def test_both_boards_plan(name, scale, planned):
    cells, stages, datasets = planned["boards"][f"{name} {scale}"]
    assert cells > 0
    assert stages > 0
    if scale == "smoke":
        assert datasets == ["digits"], "smoke needs no download"
    else:
        assert datasets != ["digits"], "full is the paper's own setting"


def test_planning_a_recipe_imports_nothing_heavy(planned):
    assert planned["heavy"] == []


@pytest.mark.parametrize("name", NAMES)
def test_figures_show_what_a_board_has(name):
    boards = [load(name).board(scale) for scale in recipe.SCALES]
    known = {task.name for board in boards for task in board.tasks}
    methods = {method.name for board in boards for method in board.methods}
    for figure in load(name).figures:
        assert set(getattr(figure, "tasks", ())) <= known
        for method in getattr(figure, "methods", ()):
            assert {parse(method, board.defaults).name for board in boards} & methods, f"no board has {method}"


@pytest.mark.parametrize("name", NAMES)
def test_claims_have_names_of_their_own(name):
    names = [claim.name for claim in load(name).claims]
    assert names
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("name", "claim"), claims())
def test_a_claim_says_what_by_which_rule_and_from_where(name, claim):
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", claim.name)
    assert min(map(len, (claim.text, claim.rule, claim.source))) >= 4
    assert "|" not in claim.text + claim.published, "it stands in a table"
    if is_table(claim):
        assert re.search(r"\(.{10,}\)", claim.source), "a table of numbers needs its setting"


@pytest.mark.parametrize(("name", "claim"), claims())
@pytest.mark.parametrize("scale", recipe.SCALES)
def test_without_evidence_nothing_is_decided(name, claim, scale):
    """A judge returns a finding or says what is missing; without a single record no claim holds or fails."""
    finding = claim.find(Evidence(scale, load(name).board(scale), []))
    assert isinstance(finding, Finding)
    assert finding.verdict is Verdict.UNTESTABLE
    assert finding.note


@pytest.mark.parametrize("name", NAMES)
def test_every_claim_that_smoke_decides_has_its_test(name):
    """``tests/papers/test_<name>.py`` names it; claims that smoke cannot decide, by its board or as run, need none."""
    path, smoke = ROOT / "tests" / "papers" / f"test_{name}.py", verdicts(name, "smoke")
    assert path.is_file()
    undecided = {claim for claim, found in smoke.items() if found == {Verdict.UNTESTABLE.value}}
    wanted = {claim.name for claim in load(name).claims if not elsewhere(claim, load(name))} - undecided
    missing = wanted - named_in(path)
    assert not missing, f"a sabotage is wanted for {', '.join(sorted(missing))}"


def elsewhere(claim: Claim, of: Recipe) -> bool:
    """The smoke board has no such cells."""
    note = claim.find(Evidence("smoke", of.board("smoke"), [])).note
    return is_table(claim) or "smoke board has no" in note or "--scale full" in note


def named_in(path: Path) -> set[str]:
    """Strings that a module of tests writes out, or has in its lists."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    module = vars(importlib.import_module(f"tests.papers.{path.stem}"))
    listed = (value for value in module.values() if isinstance(value, list | tuple | set | dict))
    written = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return written | {item for items in listed for item in items if isinstance(item, str)}


COMMITTED = [name for name in NAMES if (RESULTS / name / "smoke.csv").is_file()]


@pytest.mark.skipif(not RESULTS.is_dir(), reason="an installed package has no results beside it")
def test_every_recipe_has_committed_smoke_results():
    assert set(COMMITTED) == set(NAMES)


@pytest.mark.parametrize("name", COMMITTED)
def test_the_committed_page_is_what_the_records_give(name):
    assert not list(same_pages(load(name), RESULTS / name))


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_records_are_sound_and_complete(name):
    records, corrupt = load_all(RESULTS / name)
    cells = {scale: {cell.id for cell in load(name).board(scale).cells} for scale in recipe.SCALES}
    with suppress(UsageError):  # recipes without CIFAR-10
        cells["full"] |= {cell.id for cell in load(name).board("full", "cifar10=cifar10_jpeg").cells}
    found = {record.data["cell_id"] for record in records}
    assert not corrupt
    assert cells["smoke"] <= found
    assert found <= cells["smoke"] | cells["full"], "records of cells that the recipe no longer has"
    assert all(record.ok and record.audit_passed for record in records)


@pytest.mark.skipif(not RESULTS.is_dir(), reason="an installed package has no results beside it")
def test_images_drawn_by_seed_differ_between_seeds_and_others_do_not(tmp_path):
    assert not failed(RESULTS / "data_diet")
    folder = shutil.copytree(RESULTS / "data_diet", tmp_path / "data_diet")
    path = next(path for path in sorted(folder.glob("*/*.json")) if '"digits-mlp-64~el2n@4~0.3"' in path.read_text())
    record = Record.load(path).data
    Record({**record, "provenance": {**record["provenance"], "data_digest": "0"}}).save(path)
    assert failed(folder) == {("provenance", path.stem)}


def failed(folder: Path) -> set[tuple[str, str]]:
    return {(check.rule, check.subject) for check in verify(folder).checks if check.reasons}


@pytest.mark.parametrize("name", COMMITTED)
def test_published_numbers_stand_beside_their_source(name):
    """Every number in the column of published values belongs to a claim that says where it is from."""
    sources = {claim.name: claim.source for claim in load(name).claims}
    for scale in recipe.SCALES:
        path = RESULTS / name / f"{scale}.csv"
        rows = list(csv.DictReader(path.open(encoding="utf-8", newline=""))) if path.is_file() else []
        for row in rows:
            assert row["claim"] in sources
            if re.fullmatch(r"-?[\d.]+", row["published"]):
                assert sources[row["claim"]]
