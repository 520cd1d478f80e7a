"""The HTML page without a browser: its data are the records', nothing in them can become markup, it stays small."""

from __future__ import annotations

import base64
import gzip
import json
import re
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from sparsebench.grid import board as boards
from sparsebench.record import Record, record_path
from sparsebench.report import html, read, standing_of
from sparsebench.report.html import document, payload
from sparsebench.report.kept import Kept, kept
from sparsebench.report.table import frame
from sparsebench.stats import mean_interval
from tests.report.conftest import make_board, make_record, make_records

RESULTS = Path(__file__).parents[2] / "results"
EVIL = "</script><script>alert(1)</script><!-- \"'&\u2028<b>"


def together(records: list[Record]) -> list[Kept]:
    return [Kept(record_path("", "", r.cell["method"], r.data["cell_id"]).as_posix(), r) for r in records]


def page_of(records: list[Record], board: dict, standing=None, **options) -> str:
    return html.page(standing or standing_of(frame(records), board), together(records), **options)


class Parts(HTMLParser):
    """Tags and the text of every script, as a browser would split the page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.scripts, self.attributes = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "script":
            self.scripts.append([dict(attrs), ""])

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts[-1][1] += data


def data_of(text: str) -> dict:
    attributes, data = Parts(text).scripts[0]
    return json.loads(data if attributes["type"] == "application/json" else gzip.decompress(base64.b64decode(data)))


@pytest.fixture(scope="module")
def board() -> dict:
    return make_board(["digits-mlp", "digits-vit"], ["magnitude@imp", "lamp@imp", "random@imp"], [0.5, 0.9])


@pytest.fixture(scope="module")
def records(board) -> list[Record]:
    return make_records(board)


@pytest.fixture(scope="module")
def standing(board, records):
    return standing_of(frame(records), board)


@pytest.fixture(scope="module")
def page(board, records, standing) -> str:
    return page_of(records, board, standing)


def test_the_numbers_are_those_of_the_records(records, page):
    data = data_of(page)["records"]
    by_id = {record.data["cell_id"]: record.data for record in records}
    assert sorted(data["id"]) == sorted(by_id)
    for place, name in enumerate(data["id"]):
        record = by_id[name]
        assert {key: data[key][place] for key in record["cell"]} == record["cell"]
        assert data["metrics"]["nll"][place] == pytest.approx(record["metrics"]["nll"], rel=1e-5)
        shape = data["shapes"][data["shape"][place]]
        layers = {n: {"kept": k, "size": s} for (n, s), k in zip(shape, data["layers"][place], strict=True)}
        assert layers == record["sparsity"]["layers"]
        assert [data["verdicts"][v] for v in data["audit"][place]] == [[1, "exact counts", True, ""]]
        assert data["provenances"][data["provenance"][place]]["command"] == record["provenance"]["command"]


def test_bands_are_student_intervals_over_seeds(records, page):
    rows = data_of(page)["rows"]
    assert len(rows["ece_half"]) == 2 * (1 + 3 * 2)
    for place, ece_half in enumerate(rows["ece_half"]):
        cell = {key: rows[key][place] for key in ("task", "method", "sparsity")}
        values = [r.data["metrics"]["ece"] for r in records if cell.items() <= r.cell.items()]
        assert ece_half == pytest.approx(mean_interval(values).half, rel=1e-4)


def test_a_single_seed_has_no_band(board):
    alone = {**board, "seeds": [0]}
    rows = data_of(page_of(make_records(alone), alone))["rows"]
    assert set(rows["nll_half"]) == set(rows["top1_half"]) == {None}


@pytest.mark.parametrize("place", ["error", "method", "task", "title", "detail", "command", "layer", "flags"])
def test_no_text_becomes_markup(records, board, page, place):
    """Whatever a record says, the page has the tags that it has without it."""
    first, *others = records
    data = json.loads(json.dumps(first.data))
    told = dict(board)
    if place == "error":
        data |= {"error": EVIL, "status": "failed", "metrics": {}}
    elif place in ("method", "task"):
        data["cell"][place] = EVIL
        told[f"{place}s"] = [*board[f"{place}s"], EVIL]
    elif place == "detail":
        data["audit"][0]["detail"] = EVIL
    elif place == "command":
        data["provenance"]["command"] = EVIL
    elif place == "layer":
        data["sparsity"]["layers"][EVIL] = {"kept": 1, "size": 2}
    elif place == "flags":
        data["flags"] = [EVIL]
    else:
        told["title"] = EVIL
    text = page_of([Record(data), *others], told)
    assert Parts(text).tags == Parts(page).tags
    assert not set("<>&") & set(text.split('id="data">')[1].split("</script>")[0])
    assert EVIL in json.dumps(data_of(text), ensure_ascii=False).replace('\\"', '"')


def test_the_policy_names_the_script_and_the_style_and_allows_nothing_else(page):
    parts = Parts(page)
    policy = next(value for name, value in parts.attributes if name == "content" and "default-src" in value)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    for name, source in {"script-src": parts.scripts[1][1], "style-src": style}.items():
        assert rules[name] == f"'sha256-{base64.b64encode(sha256(source.encode()).digest()).decode()}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"


def test_nothing_is_fetched(page):
    """No address of another host, no import, no font, no picture but the empty icon."""
    parts = Parts(page)
    outside = [(key, value) for key, value in parts.attributes if key in ("src", "href", "srcset", "action")]
    assert set(outside) == {("href", to) for to in ("#board", "data:,", "leaderboard.md", "leaderboard.csv")}
    code = parts.scripts[1][1]
    assert re.findall(r"https?://\S+", code) == ["http://www.w3.org/2000/svg',"]
    calls = "fetch|XMLHttpRequest|WebSocket|import|innerHTML|outerHTML|insertAdjacentHTML|eval"
    assert not re.search(rf"\b({calls})\b\s*[(=]", code)
    style = document.read("html", "page.css")
    assert "@import" not in style
    assert "url(" not in style


def test_the_same_records_give_the_same_bytes(records, board, standing, page, monkeypatch):
    assert page_of(records, board) == page
    monkeypatch.setattr(document, "PLAIN", 0)
    assert page_of(records, board, standing) == page_of(records, board, standing)


def test_large_data_are_compressed(records, board, standing, page, monkeypatch):
    monkeypatch.setattr(document, "PLAIN", 0)
    packed = page_of(records, board, standing)
    assert Parts(packed).scripts[0][0]["type"] == "application/gzip"
    assert data_of(packed) == data_of(page)
    assert len(packed) < len(page)


def test_a_page_that_is_too_large_leaves_out_details_in_order_and_says_so(records, board, standing, page):
    assert not data_of(page)["notes"]
    sizes = [len(page)]
    for _ in payload.DETAILS:
        text = page_of(records, board, standing, limit=min(sizes) - 1)
        data = data_of(text)
        sizes.append(len(text))
        if "layers" not in data["records"]:
            break
    assert sizes == sorted(sizes, reverse=True)
    assert "audit" not in data["records"]
    assert "densities of layers" in data["notes"][0]
    assert data["records"]["passed"] == [True] * len(records)


def test_the_quick_board_takes_less_than_two_megabytes():
    info = boards.load("quick").info() | {"command": "sparsebench run quick"}
    folder = RESULTS / "quick"
    now = read(folder, info)
    text = html.page(now, kept(now, folder))
    assert len(data_of(text)["records"]["id"]) >= 336
    assert len(text) < 2_000_000


def test_only_the_records_of_the_standing_are_kept(results, records, standing):
    first, *_ = records
    stray = make_record("digits-mlp", "lamp@imp", 0.7, 0, 0.9)
    old = Record({**first.data, "cell_id": "0" * 16, "board_version": 0})
    folder = results([*records, stray, old])
    (folder / "copy.json").write_bytes(next(folder.glob("dense/*.json")).read_bytes())
    found = kept(standing, folder)
    assert [one.record.data["cell_id"] for one in found] == [
        record.data["cell_id"] for record in sorted(records, key=_order(standing))
    ]
    assert all((folder / one.path).is_file() for one in found)


def _order(standing):
    keys = ["task", "method", "sparsity", "seed"]
    order = [tuple(row) for row in standing.cells[keys].itertuples(index=False)]
    return lambda record: order.index(tuple(record.cell[key] for key in keys))


@pytest.mark.parametrize(
    ("fingerprint", "expected"),
    [
        ({"allocation": "global", "regime": "imp", "count": "round(density * prunable), exact"}, "weights"),
        ({"allocation": "2:4", "regime": "finetune"}, "N:M"),
        ({"allocation": "4:8", "regime": "finetune"}, "N:M"),
        ({"allocation": "uniform/block4x4", "regime": "finetune"}, "blocks"),
        ({"allocation": "uniform", "count": "the fewest units whose removal leaves at most ..."}, "units"),
        ({"allocation": None, "regime": "small_dense", "count": "the widest network"}, "smaller network"),
        ({"allocation": "a new one"}, "weights"),
        (None, "weights"),
    ],
)
def test_what_a_method_removes_is_read_from_its_fingerprint(fingerprint, expected):
    assert payload.structure({"cell": {"method": "m"}, "fingerprint": fingerprint}) == expected


def test_numbers_that_are_not_finite_are_null():
    assert payload.number(np.float64("inf").item()) is None
    json.loads(json.dumps(payload.columns(frame([make_record("t", "m", 0.5, 0, None)])), allow_nan=False))
