"""The page of linked views in a real browser: what is chosen in one view is seen in the others."""

from __future__ import annotations

import re

import pytest

from sparsebench.report import explore
from tests.report.test_explore import board_info, made

VIEWS = ["evaluation", "models", "features", "local", "classes", "redundancy", "parallel", "samples"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explore")
    records = made(folder / "measures")
    path = folder / "explore.html"
    path.write_text(explore.page(board_info(), records, folder / "measures", [0, 1]), encoding="utf-8")
    return path


def count(page, selector: str) -> int:
    return page.locator(selector).count()


def test_every_view_is_there_and_draws_the_same_images(visit, file):
    page = visit(file)
    assert page.eval_on_selector_all("main > section", "all => all.map(one => one.id)") == ["choices", *VIEWS, "about"]
    # 40 images: in both planes, twice among angles and lengths, one line each.
    assert count(page, "#features figure") == 2
    assert count(page, "#features [data-side=dense] circle.mark") == 40
    assert count(page, "#features [data-side=pruned] circle.mark") == 40
    assert count(page, "#local circle.mark") == 80
    assert count(page, "#parallel polyline.thread") == 40
    assert count(page, "#parallel g.axis") == 4 + 3
    assert count(page, "#models circle.node") == 4
    assert count(page, "#models line.edge") == 3
    assert count(page, "#evaluation tbody tr") == 4
    assert count(page, "#redundancy tbody tr") == 15
    assert count(page, "#samples .card") > 0
    assert count(page, "#samples .card .picture") >= count(page, "#samples .card")


def test_a_network_chosen_on_the_map_is_the_one_beside_the_dense_one_everywhere(visit, file):
    page = visit(file)
    before = page.inner_text("#features [data-side=pruned] figcaption")
    other = page.locator("#models circle.node:not(.picked):not(.is-dense)").first
    name = other.get_attribute("data-model")
    other.click()
    assert page.inner_text("#features [data-side=pruned] figcaption") != before
    assert page.locator("#choices select").nth(1).input_value() == name
    assert page.locator("#evaluation tr.is-chosen").get_attribute("data-model") == name
    assert page.locator("#models circle.node.picked").get_attribute("data-model") == name
    assert f"model={name}" in page.evaluate("location.hash")
    # The same by the keyboard, in the table; the dense network cannot stand beside itself.
    page.locator("#evaluation tbody th button").nth(1).focus()
    page.keyboard.press("Enter")
    chosen = page.locator("#evaluation tbody tr").nth(1).get_attribute("data-model")
    assert page.locator("#choices select").nth(1).input_value() == chosen
    page.locator("#evaluation tbody th button").nth(0).click()
    assert page.locator("#choices select").nth(1).input_value() == chosen


def test_a_class_leaves_the_others_dim_in_every_view(visit, file):
    page = visit(file)
    page.click("#choices [data-class='2']")
    for view, mark, times in (("features", "circle.mark", 2), ("local", "circle.mark", 2), ("parallel", "polyline", 1)):
        assert count(page, f"#{view} {mark}:not(.dim)") == times * 10, view
    assert page.locator("#classes tr.is-chosen").first.get_attribute("data-class") == "2"
    assert set(page.eval_on_selector_all("#samples .card b", "all => all.map(b => b.innerText)")) == {"class 2"}
    assert count(page, "#local g.arrow") == 1
    page.click("#classes tbody tr:nth-child(4) th button >> nth=0")  # another view, another class
    assert page.get_attribute("#choices [data-class='3']", "aria-pressed") == "true"
    page.click("#choices [data-class='3']")
    assert count(page, "#features .mark.dim") == 0


def test_an_image_chosen_anywhere_is_marked_everywhere_and_told(visit, file):
    page = visit(file)
    card = page.locator("#samples .card button").first
    row = card.get_attribute("data-row")
    card.click()
    assert page.eval_on_selector_all(".mark.picked", "all => all.map(one => one.dataset.row)") == [row] * 5
    assert count(page, "#image tbody tr") == 4  # in every network
    assert count(page, "#image .large .picture") == 1
    assert count(page, "#image .strip li") == 5  # the showings of it
    # From a plane: the last mark is drawn on top of all others.
    mark = page.locator("#features [data-side=pruned] circle.mark:not(.picked)").last
    other = mark.get_attribute("data-row")
    mark.click(force=True)
    assert page.locator("#samples .card.picked button, #image").count() >= 1
    assert set(page.eval_on_selector_all(".mark.picked", "a => a.map(e => e.dataset.row)")) == {other}
    page.click("[data-key='drop sample']")
    assert count(page, ".mark.picked") == 0


def test_a_pointer_over_an_image_lights_it_up_in_the_other_views(visit, file):
    page = visit(file)
    mark = page.locator("#features [data-side=dense] circle.mark").last
    row = mark.get_attribute("data-row")
    mark.hover(force=True)
    assert set(page.eval_on_selector_all(".mark.hot", "all => all.map(one => one.dataset.row)")) == {row}
    assert count(page, ".mark.hot") == 5
    assert "margin" in page.inner_text("#tip")


def test_brushing_a_plane_filters_the_other_views_and_a_press_beside_lets_go(visit, file):
    page = visit(file)
    ground = page.locator("#features [data-side=dense] rect.ground")
    ground.scroll_into_view_if_needed()
    box = ground.bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + 1)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 1, steps=4)
    page.mouse.up()
    inside = set(
        page.eval_on_selector_all(
            "#features [data-side=dense] .mark:not(.dim)", "all => all.map(one => one.dataset.row)"
        )
    )
    assert 0 < len(inside) < 40
    expected = page.evaluate(
        """() => {
          const ground = document.querySelector('#features [data-side=dense] rect.ground').getBBox();
          return [...document.querySelectorAll('#features [data-side=dense] .mark')]
            .filter((one) => one.cx.baseVal.value < ground.x + ground.width / 2).map((one) => one.dataset.row);
        }"""
    )
    assert len(inside ^ set(expected)) <= 1  # one may lie on the rectangle's side
    for view in ("#features [data-side=pruned] .mark", "#parallel .thread"):
        assert set(page.eval_on_selector_all(f"{view}:not(.dim)", "a => a.map(one => one.dataset.row)")) == inside
    assert f"{len(inside)} images brushed" in page.inner_text("#choices")
    corner = page.locator("#features [data-side=dense] rect.ground").bounding_box()
    page.mouse.click(corner["x"] + 2, corner["y"] + 2)
    assert count(page, ".mark.dim") == 0


def test_a_corruption_filters_the_samples_and_is_marked_in_the_tables(visit, file):
    page = visit(file)
    page.click("#redundancy thead button[data-kind='4'] >> nth=0")
    for view in ("evaluation", "classes", "redundancy"):
        assert page.locator(f"#{view} thead [data-kind='4']").first.get_attribute("aria-pressed") == "true"
    assert page.locator("#choices select").nth(2).input_value() == "4"
    said = page.eval_on_selector_all("#samples .card .strip small", "all => all.map(one => one.innerText)")
    assert said
    assert all(text.startswith("fog ") for text in said)


def test_the_lists_of_samples_are_what_they_say(visit, file):
    page = visit(file)
    for tab, test in (("Lost by pruning", ("same", "other")), ("Won by pruning", ("other", "same"))):
        page.click(f"#samples .segments >> text={tab}")
        for text in page.eval_on_selector_all("#samples .card-text", "all => all.map(one => one.innerText)"):
            label, dense, pruned = re.findall(r"class (\d)", text)
            assert tuple("same" if said == label else "other" for said in (dense, pruned)) == test
    page.click("#samples .segments >> text=Fragile")
    margins = page.eval_on_selector_all(
        "#samples .card-text", "all => all.map(one => Number(/margin (-?[0-9.]+)/.exec(one.innerText)[1]))"
    )
    assert margins == sorted(margins)
    assert margins[0] >= 0


def test_another_seed_shows_its_own_networks_and_the_address_holds_the_view(visit, file):
    page = visit(file)
    page.select_option("#choices select >> nth=0", "1")
    page.click("#choices [data-class='1']")
    shown = page.inner_text("#features figcaption >> nth=0")
    again = visit(file, address=page.evaluate("location.hash"))
    assert again.inner_text("#features figcaption >> nth=0") == shown
    assert again.get_attribute("#choices [data-class='1']", "aria-pressed") == "true"


def test_a_network_of_other_width_is_shown_in_its_own_directions(visit, file):
    page = visit(file)
    page.select_option("#choices select >> nth=1", label="l1@finetune 90 %")
    assert "each in its own directions" in page.inner_text("#features .controls")
    assert count(page, "#features [data-side=pruned] circle.mark") == 40


@pytest.mark.parametrize("dark", [False, True])
def test_a_picture_of_it_is_not_blank_and_text_stands_out(visit, file, tmp_path, dark):
    from PIL import Image

    from tests.browser.test_page import CONTRAST, NAMELESS

    page = visit(file, dark=dark, address="#class=1&change=change&value=change")
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate(CONTRAST) == []
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    picture = Image.open(tmp_path / "page.png").convert("RGB")
    colours = picture.getcolors(1 << 24)
    assert len(colours) > 500
    assert max(n for n, _ in colours) < 0.97 * picture.width * picture.height


def test_a_phone_scrolls_down_and_not_sideways(visit, file):
    page = visit(file, width=375, height=750, address="#sample=3")
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert count(page, "#features circle.mark") == 80


def test_markup_in_names_is_text(visit, tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    records = made(tmp_path / "measures", seeds=(0,))
    text = explore.page({**board_info(), "title": evil, "notes": evil}, records, tmp_path / "measures")
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    page = visit(tmp_path / "page.html")
    assert page.inner_text("h1") == evil
    assert count(page, "img") == 0
