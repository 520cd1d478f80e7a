"""Cards: docstrings taken apart, every registered part rendered, numbers as the records have them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sparsebench.allocation import allocation
from sparsebench.errors import UsageError
from sparsebench.grid import board as boards
from sparsebench.methods import parse
from sparsebench.record import load_all, record_path
from sparsebench.registry import criterion, modifier, read_entries, regime
from sparsebench.report.cards import card, render
from sparsebench.report.cards.blocks import Card, Code, Curves, Section, Table, Text
from sparsebench.report.cards.settings import epochs
from sparsebench.report.cards.words import words
from tests.report.conftest import make_record

PARTS = [(r.kind, name) for r in (criterion, regime, modifier, allocation) for name in r.names()]
RESULTS = Path(boards.__file__).parents[2] / "results"


def titled(page: Card) -> dict[str, Section]:
    return {section.title: section for section in page.sections}


def words_of(text: str, tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text(text)
    return words(read_entries(file, "criterion", None)[0])


def test_a_docstring_is_taken_apart(tmp_path):
    said = words_of(
        '"""Mine: the square of the weight.\n\n    score = w^2        as ever\n\nIt is ``even``. '
        'Source: A & B et al. 2020, arXiv:2001.00001 (eq. 1). Nothing\nelse.\n"""\n'
        '@criterion(needs="weight", paper="2001.00001")\ndef mine(weight):\n    """>>> mine(2)\n    4\n    """\n'
        "    return weight**2\n",
        tmp_path,
    )
    assert (said.title, said.tagline) == ("Mine", "the square of the weight.")
    assert said.formula == ("score = w^2        as ever",)
    assert said.definition == ("It is `even`. Nothing else.",)
    assert said.sources == ("A & B et al. 2020, arXiv:2001.00001 (eq. 1)",)
    assert said.papers == ("2001.00001",)


def test_a_file_may_say_little(tmp_path):
    said = words_of("@criterion\ndef bare(weight):\n    return weight.abs() / 2\n", tmp_path)
    assert (said.title, said.tagline, said.sources) == ("bare", "", ())
    assert said.formula == ("score = weight.abs() / 2",)
    one = words_of('@criterion\ndef one(weight):\n    """score = |w| / std(w)"""\n    x = 1\n    return x\n', tmp_path)
    assert (one.title, one.formula) == ("one", ("score = |w| / std(w)",))


def test_a_file_of_several_speaks_for_none_of_them(tmp_path):
    file = tmp_path / "two.py"
    functions = (f'@criterion\ndef {n}(weight):\n    """Its own line."""\n    return weight\n' for n in "ab")
    file.write_text('"""Pair: about both.\n\n    a = b\n"""\n' + "".join(functions))
    assert {words(entry).tagline for entry in read_entries(file, "criterion", None)} == {"Its own line."}


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_everything_registered_has_a_card_without_empty_sections(kind, name, tmp_path):
    page = card(name, results=tmp_path)
    sections = titled(page)
    assert {"Definition", "Where it applies", "Results", "Phases", "Cost", "Fingerprint"} <= sections.keys()
    assert page.tagline
    for section in page.sections:
        assert section.blocks, section.title
        for block in section.blocks:
            assert not isinstance(block, Table) or block.rows, section.title
            assert not isinstance(block, Text) or block.text.strip(), section.title
    entry = {"criterion": criterion, "regime": regime, "modifier": modifier, "allocation": allocation}[kind].entry(name)
    if kind != "allocation":
        assert words(entry).formula, f"the docstring of {kind} {name} has no formula"
        assert any(isinstance(block, Code) for block in sections["Definition"].blocks)
    if "paper" in entry.traits:
        assert entry.traits["paper"] in render(page, "md").partition("## Traits")[0]
    for argument in entry.params:
        assert f"`{argument}`" in str(sections["Arguments"])
    for how in ("md", "html"):
        text = render(page, how)
        assert "None%" not in text
        assert "``" not in text.replace("```", "")


@pytest.mark.parametrize("board", boards.names())
def test_every_method_of_the_shipped_boards_has_a_card(board, tmp_path):
    for method in boards.load(board).methods:
        page = card(method.name, results=tmp_path)
        assert page.title == method.name
        assert render(page, "md").startswith(f"# `{method.name}`\n")


def test_the_epochs_a_card_promises_are_those_that_were_trained():
    checked = 0
    board = boards.load("quick")
    for record in load_all(RESULTS / "quick")[0]:
        cell, recipe = record.cell, record.data["settings"]["task"]["recipe"]
        if cell["seed"] or cell["sparsity"] != 0.98:
            continue
        promised = epochs(parse(cell["method"], board.defaults).phases(cell["sparsity"])) * recipe["epochs"]
        assert promised == pytest.approx(record.data["cost"]["epochs"]), cell
        checked += 1
    assert checked == 36


@pytest.fixture
def two(tmp_path) -> Path:
    """The quick board's first task and two methods of which one always wins by a point, and collapses once."""
    board = boards.load("quick")
    for task in board.tasks:
        for seed in board.seeds:
            for method, sparsity, top1 in _cells(board, seed):
                record = make_record(task.name, method, sparsity, seed, top1, board_version=board.version)
                record.save(record_path(tmp_path, "quick", method, record.data["cell_id"]))
    return tmp_path


def _cells(board, seed):
    yield "dense", 0.0, 0.98
    for sparsity in board.sparsities:
        yield "snip@init", sparsity, 0.90 + seed / 100
        yield "synflow@init", sparsity, 0.91 + seed / 100
        yield "magnitude@imp", sparsity, 0.1 if (sparsity, seed) == (0.98, 2) else 0.80 + seed / 100


def test_results_are_those_of_the_records(two):
    text = render(card("snip", results=two), "md")
    assert re.search(r"\| `snip@init` \| 2 of 3 \| 2\.00 \| 2\.0 … 2\.0 \|.*\| 7\.0 ± ", text)
    assert "| digits-vit | 98 % | 91.0 ± 2.5 | 2 of 3 | 98.0 | 92.0 `synflow@init` |" in text
    assert "| `synflow@init` | 1.00 | -1.00 (-1.00 … -1.00) | better |" in text
    assert "| `magnitude@imp` | 3.00 | +1.00 (+1.00 … +1.00) | worse |" in text
    assert "| `magnitude@imp` | 3 of 3 |" not in text
    assert "sparsebench run quick --methods snip@init" in text
    best = render(card("synflow", results=two), "md")
    assert "| digits-mlp | 75 % | **92.0 ± 2.5** | 1 of 3 |" in best
    worst = render(card("magnitude@imp", results=two), "md")
    assert re.search(r"\| digits-mlp \| 98 % \| 57\.0 ± [\d.]+ ↓ ≈ \| 3 of 3 \|.* 1/3 \| pass \|", worst)


def test_a_method_is_found_however_it_is_written(two):
    assert "| `magnitude@imp` | 3 of 3 |" in render(card("magnitude/global@imp(rate=0.5)", results=two), "md")
    other = render(card("magnitude@imp(rate=0.3)", results=two), "md")
    assert (
        "No records on the quick board; make some: `sparsebench run quick --methods 'magnitude@imp(rate=0.3)'`" in other
    )
    parts = render(card("init", results=two), "md")
    assert "`snip@init`" in parts
    assert "`synflow@init`" in parts
    assert "`magnitude@imp`" not in parts.partition("## Known traps")[0].partition("## Results")[2]


def test_the_command_makes_one_of_the_cells_again(two):
    cell = re.search(r"sparsebench rerun ([0-9a-f]{16})", render(card("snip", results=two), "md")).group(1)
    assert cell in {c.id for c in boards.load("quick").cells if c.method.name == "snip@init"}


def test_one_board_alone(two):
    page = titled(card("snip", results=two, board="methods"))
    assert "On the quick board" not in page
    assert "No records on the methods board" in str(page["Results"])
    with pytest.raises(UsageError, match="unknown board 'quik': did you mean 'quick'"):
        card("snip", results=two, board="quik")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("magnitud@imp", "unknown method 'magnitud': did you mean 'magnitude'"),
        ("shufle", "unknown method 'shufle': did you mean 'shuffle'"),
        ("magnitude@imq", "unknown regime 'imq': did you mean 'imp'"),
        ("magnitude@rigl", "rigl has a rule of its own"),
        ("nowhere.py:mine", "nowhere.py: cannot be read"),
    ],
)
def test_a_mistake_is_named(text, message, tmp_path):
    with pytest.raises(UsageError, match=re.escape(message)):
        card(text, results=tmp_path)


class Reader(HTMLParser):
    """What a page opens, closes, links to and loads."""

    VOID = frozenset({"meta"})

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.links, self.ids, self.loads = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.loads += [given[a] for a in ("src", "data") if a in given] + [tag] * (tag in ("script", "link", "img"))
        self.links += [given[a] for a in ("href",) if a in given]
        self.ids += [given[a] for a in ("id",) if a in given]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.mark.parametrize("text", ["snip", "dense", "init", "magnitude@imp"])
def test_the_page_stands_alone(two, text):
    page = card(text, results=two)
    html, reader = render(page, "html"), Reader()
    reader.feed(html)
    assert (reader.wrong, reader.open, reader.loads) == ([], [], [])
    assert {link for link in reader.links if link.startswith("#")} <= {f"#{i}" for i in reader.ids}
    assert all(link.startswith(("#", "https://arxiv.org/")) for link in reader.links)
    assert "url(" not in html
    assert "@import" not in html
    curves = [block for section in page.sections for block in section.blocks if isinstance(block, Curves)]
    assert html.count("<svg") == sum(len(block.curves) for block in curves) == (4 if "@" in page.title else 0)


def test_a_user_s_text_is_no_markup(tmp_path, monkeypatch):
    (tmp_path / "odd.py").write_text(
        '@criterion\ndef odd(weight, *, label: str = "<b>|"):\n'
        '    """<script>alert(1)</script> & more."""\n    return weight\n'
    )
    monkeypatch.chdir(tmp_path)
    page = card("odd.py", results=tmp_path)
    assert "<script>" not in render(page, "html")
    assert "&lt;script&gt;" in render(page, "html")
    assert "`'<b>\\|'`" in render(page, "md")
