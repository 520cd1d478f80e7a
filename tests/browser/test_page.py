"""The page in a real browser: it sorts, filters, opens what stands behind a number, in light, dark and on a phone."""

from __future__ import annotations

import json
import re

import pytest

from sparsebench.record import Record
from sparsebench.report import html, standing_of
from sparsebench.report.html import document
from sparsebench.report.kept import Kept
from sparsebench.report.table import frame
from tests.report.conftest import make_board, make_record, make_records

TASKS = ["digits-mlp", "digits-vit"]
METHODS = ["magnitude@imp", "lamp@imp", "wanda/2:4@oneshot", "magnitude@finetune", "random@init", "late@imp"]
EVIL = '</script><script>alert(1)</script><img src=x onerror=alert(2)> it\'s "quoted"'


@pytest.fixture(scope="module")
def board() -> dict:
    return make_board(TASKS, METHODS, [0.5, 0.9, 0.984375]) | {"title": 'A board <b>with "signs"</b>'}


@pytest.fixture(scope="module")
def records(board) -> list[Record]:
    """A full board with an N:M method, one that is not finished, and a failed cell that tries to be markup."""
    nm = {"allocation": "2:4", "regime": "oneshot", "criterion": "wanda"}
    made = [
        Record({**r.data, "fingerprint": nm}) if r.cell["method"] == "wanda/2:4@oneshot" else r
        for r in make_records(board)
        if (r.cell["method"], r.cell["seed"]) != ("late@imp", 2)
    ]
    place = next(i for i, r in enumerate(made) if r.cell["method"] == "late@imp")
    made[place] = make_record(*made[place].cell.values(), None, error=EVIL)
    shown = next(i for i, r in enumerate(made) if r.cell["method"] == "lamp@imp")
    kinds = {"gaussian_noise": [0.9, 0.8, 0.7, 0.6, 0.5], "fog": [0.95, 0.94, 0.93, 0.92, None]}
    corruptions = {"set": "sample5", "seed": 1, "n": 2000, "kinds": kinds, "digest": "d"}
    made[shown] = Record({**made[shown].data, "corruptions": corruptions, "curves": {"losses": [2.0, 0.5, 0.1]}})
    return made


@pytest.fixture(scope="module")
def file(board, records, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "leaderboard.html"
    path.write_text(page_of(board, records), encoding="utf-8")
    return path


def page_of(board, records) -> str:
    return html.page(standing_of(frame(records), board), [Kept(f"m/{r.data['cell_id']}.json", r) for r in records])


def column(page, place: int) -> list[str]:
    return page.eval_on_selector_all(
        f"#board tbody tr:not(:has(.line)) > :nth-child({place})", "all => all.map(one => one.innerText.trim())"
    )


def heading(page, name: str) -> str:
    return f"#board thead tr:last-child th:has-text('{name}')"


def test_it_sorts_by_click_and_by_key(visit, file, board, records):
    page = visit(file)
    summary = standing_of(frame(records), board).summary
    assert column(page, 2) == summary["method"].tolist()
    assert page.get_attribute(heading(page, "Average rank"), "aria-sort") == "ascending"
    page.click(heading(page, "Drop") + " button")
    ranked = summary[summary["rank"].notna()]
    best_first = ranked.sort_values("drop")["method"].tolist()
    assert column(page, 2)[: len(ranked)] == best_first
    assert page.get_attribute(heading(page, "Drop"), "aria-sort") == "ascending"
    assert page.get_attribute(heading(page, "Average rank"), "aria-sort") == "none"
    page.keyboard.press("Enter")  # the heading kept the focus
    assert page.get_attribute(heading(page, "Drop"), "aria-sort") == "descending"
    assert column(page, 2)[: len(ranked)] == best_first[::-1]
    # What has no rank stays below the line.
    assert page.inner_text("#board tbody tr:nth-last-child(2)") == "Below the line: not ranked"
    assert column(page, 2)[-1] == "late@imp"


def test_it_filters_by_task_sparsity_structure_and_text(visit, file):
    page = visit(file)
    page.click("text=Accuracy >> nth=0")
    assert len(page.query_selector_all("#board thead tr:last-child th")) == 1 + 2 * 3 + 1
    page.click("[data-facet=task] >> text=digits-vit")
    page.click("[data-facet=sparsity] >> text='90 %'")
    assert page.eval_on_selector_all("#board thead tr:last-child th", "a => a.map(e => e.innerText.trim())")[1:-1] == [
        "90 %"
    ]
    assert page.eval_on_selector_all(".panel figcaption", "a => a.map(e => e.innerText)") == ["digits-vit"]
    page.click("[data-facet=structure] >> text='N:M'")
    assert column(page, 1) == ["wanda/2:4@oneshot"]
    page.click("text=Clear filters")
    page.fill("#search", "@imp")
    assert sorted(column(page, 1)) == ["lamp@imp", "late@imp", "magnitude@imp"]
    page.fill("#search", "nothing such")
    assert page.inner_text("#board tbody") == "Nothing passes these filters."
    # The address holds the view: the same page opened from it shows the same.
    page.fill("#search", "late")
    again = visit(file, address=page.evaluate("location.hash"))
    assert column(again, 1) == ["late@imp"]


def test_a_cell_opens_its_records_audit_and_commands(visit, file, records):
    page = visit(file)
    page.click("text=Accuracy >> nth=0")
    page.click("[aria-label^='lamp@imp, digits-mlp, 50 %']")
    panel = page.locator("#panel")
    assert panel.get_attribute("open") is not None
    mine = [
        r for r in records if (r.cell["task"], r.cell["method"], r.cell["sparsity"]) == ("digits-mlp", "lamp@imp", 0.5)
    ]
    assert page.eval_on_selector_all("#panel table >> nth=0 >> tbody code", "a => a.map(e => e.innerText)") == [
        r.data["cell_id"] for r in mine
    ]
    for record in mine:
        assert f"{100 * record.data['metrics']['top1']:.2f}" in panel.inner_text()
    page.click("#panel summary >> nth=0")
    said = panel.inner_text()
    name = mine[0].data["cell_id"]
    assert f"sparsebench rerun {name}\n" in said
    assert "sparsebench run quick --methods lamp@imp --tasks digits-mlp --sparsities 0.5 --seeds 0\n" in said
    assert "Audit: 1 of 1 rules hold" in said
    assert "gaussian noise\t90.0\t80.0\t70.0\t60.0\t50.0\n" in said
    assert "fog\t95.0\t94.0\t93.0\t92.0\t–" in said
    assert "0123456789abcdef" in said
    assert panel.locator("a").first.get_attribute("href") == f"m/{name}.json"
    assert panel.locator("svg.loss").count() == 1
    page.keyboard.press("Escape")
    assert panel.get_attribute("open") is None
    assert "open=" not in page.evaluate("location.hash")


def test_markup_in_a_record_is_shown_as_text(visit, file, board):
    key = json.dumps(["digits-mlp", "late@imp", 0.5], separators=(",", ":"))
    page = visit(file, address="#open=" + key)
    page.eval_on_selector_all("#panel details", "all => all.forEach(one => (one.open = true))")
    assert page.inner_text("#panel .error") == EVIL
    assert page.inner_text("h1") == board["title"]
    assert page.query_selector_all("img, #panel script, h1 b") == []


def test_a_method_opens_its_cells(visit, file):
    page = visit(file)
    page.click("#board button.name >> text=wanda/2:4@oneshot")
    assert page.inner_text("#panel-title") == "wanda/2:4@oneshot"
    assert "sparsebench run quick --methods wanda/2:4@oneshot" in page.inner_text("#panel")
    page.click("#panel button.cell >> nth=0")
    assert "digits-mlp · 50 %" in page.inner_text("#panel header")


def test_curves_and_layers_show_what_is_chosen(visit, file):
    page = visit(file)
    assert page.locator("#curves figure").count() == 2
    assert page.locator("#curves figure >> nth=0 >> g.line-of").count() == len(METHODS)
    assert page.locator("#curves figure >> nth=0 >> polygon.band").count() == len(METHODS)
    page.select_option("#curves select >> nth=0", "dead_static")
    assert page.locator("#curves figure").count() == 1  # the ViT has no ReLU
    page.click("#curves .series >> text=random@init")
    assert page.locator("#curves figure >> nth=0 >> g.line-of").count() == len(METHODS) - 1
    rows = page.locator("#layers tbody tr")
    assert rows.count() == len(METHODS)
    assert page.inner_text("#layers tbody tr:first-child td:nth-child(2)") == "6.3"  # 100 of 1600
    page.select_option("#layers select >> nth=1", "sparsities")
    assert rows.count() == 3


def test_light_and_dark_by_system_and_by_button(visit, file):
    def ground(page) -> int:
        return sum(map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]))

    page = visit(file)
    assert ground(page) > 700
    page.click("#theme")
    assert ground(page) < 100
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert ground(page) < 100
    dark = visit(file, dark=True)
    assert ground(dark) < 100
    dark.click("#theme")
    assert ground(dark) > 700


@pytest.mark.parametrize("view", ["ranking", "accuracy", "numbers"])
def test_a_phone_scrolls_down_and_not_sideways(visit, file, view):
    page = visit(file, width=375, height=750, address=f"#view={view}")
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert page.evaluate("[...document.querySelectorAll('#board table')].every(t => t.offsetWidth > 0)")
    key = json.dumps(["digits-mlp", "lamp@imp", 0.5], separators=(",", ":"))
    page.evaluate("location.hash = ''")
    page = visit(file, width=375, height=750, address="#open=" + key)
    page.eval_on_selector_all("#panel details", "all => all.forEach(one => (one.open = true))")
    assert page.evaluate("document.getElementById('panel').scrollWidth") <= 375


def test_everything_is_reached_with_the_keyboard(visit, file):
    page = visit(file)
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.innerText?.trim().slice(0, 20) || document.activeElement.id"))
    assert {"Skip to the table", "Ranking", "Drop", "lamp@imp", "search"} <= {text.rstrip("▲▼") for text in seen}


def test_names_stand_in_every_table(visit, file):
    """Captions, scopes and labels, and text that stands out from its ground by 4.5 : 1 in both colour schemes."""
    for dark in (False, True):
        page = visit(file, dark=dark, address="#view=accuracy")
        assert page.evaluate("[...document.querySelectorAll('#board table')].every(t => t.caption)")
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate(CONTRAST) == []


NAMELESS = """[...document.querySelectorAll('button, select, input')]
  .filter((e) => !(e.textContent.trim() || e.labels?.length || e.ariaLabel)).map((e) => e.outerHTML)"""
CONTRAST = """() => {
  const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (colour) => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = colour;
    paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data];
  };
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, share, at) => sum + share * linear(c[at] / 255), 0);
  const ground = (e) => {
    const colour = e ? rgba(getComputedStyle(e).backgroundColor) : [255, 255, 255, 255];
    return colour[3] === 255 ? colour : ground(e.parentElement);
  };
  const seen = (e) => e.getClientRects().length && !e.closest('.hidden, svg, [aria-hidden]')
    && [...e.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const contrast = (e) => {
    const [less, more] = [light(rgba(getComputedStyle(e).color)), light(ground(e))].sort((a, b) => a - b);
    return (more + 0.05) / (less + 0.05);
  };
  return [...document.querySelectorAll('main *')].filter((e) => seen(e) && contrast(e) < 4.5)
    .map((e) => `${e.className || e.tagName} ${e.textContent.slice(0, 30)} ${contrast(e).toFixed(2)}`);
}"""


def test_a_picture_of_it_is_not_blank(visit, file, tmp_path):
    from PIL import Image

    page = visit(file)
    page.screenshot(path=tmp_path / "page.png")
    colours = Image.open(tmp_path / "page.png").convert("RGB").getcolors(1 << 24)
    assert len(colours) > 500
    assert max(count for count, _ in colours) < 0.95 * 1280 * 900


def test_compressed_data_are_unpacked_by_the_browser(visit, board, records, tmp_path, monkeypatch):
    monkeypatch.setattr(document, "PLAIN", 0)
    (tmp_path / "page.html").write_text(page_of(board, records), encoding="utf-8")
    page = visit(tmp_path / "page.html")
    assert len(column(page, 2)) == len(METHODS)
