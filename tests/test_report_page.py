"""The HTML report in a real, headless Chromium: it opens, sorts, filters, tells what it shows, and asks nothing of any network."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_campaigns import HOSTILE, made

from gradfuzz.report.writing import write

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the path: apt-get install -y chromium")
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's refuses to start for root
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By name, the page of: one campaign, one with hostile names, one without a graph, and of two models."""
    root = tmp_path_factory.mktemp("pages")
    hostile = f'{HOSTILE}"><img src=x onerror=window.hacked=1>'
    folders = {
        "one": made(root / "one"),
        "hostile": made(root / "hostile", f"made:{hostile}", module=hostile, command=hostile, left_out={hostile: hostile}),
        "bare": made(root / "bare", graph=False),
    }
    pages = {name: write([folder])[0] for name, folder in folders.items()}
    pages["many"] = write([folders["one"], folders["hostile"]], out=root / "many")[0]
    return pages


@pytest.fixture
def look(chromium: Any, reports: dict[str, Path]) -> Iterator[Any]:
    """Opens a page. At the end, whatever was opened must have written nothing to the console and asked for nothing."""
    contexts, complaints = [], []

    def open_page(name: str, viewport: dict[str, int] = DESK, scheme: str = "light") -> Any:
        context = chromium.new_context(viewport=viewport, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("request", lambda request: complaints.append(request.url) if not request.url.startswith(("file:", "data:")) else None)
        page.goto(reports[name].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def column(page: Any, table: str, place: int) -> list[str]:
    return [
        text.strip()
        for text in page.locator(f"{table} tbody tr td:nth-child({place}), {table} tbody tr th:nth-child({place})").all_inner_texts()
    ]


@pytest.mark.parametrize("name", ["one", "hostile", "bare", "many"])
def test_a_page_opens_without_console_errors_and_network_requests(look: Any, name: str) -> None:
    page = look(name)
    assert page.locator("h1").inner_text()
    assert page.locator("section").count() == 7


@pytest.mark.parametrize("name", ["hostile", "many"])
def test_hostile_names_are_text_and_do_nothing(look: Any, name: str) -> None:
    page = look(name)
    for site in page.locator(".site[role=option]").all()[:3]:
        site.click()
    for button in page.locator("#all tbody button").all()[:3]:
        button.click()
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert page.evaluate("[...document.scripts].map(one => one.type)") in (["application/json", ""], [""])
    assert HOSTILE in page.locator("body").inner_text()


def test_a_site_that_gets_the_focus_tells_module_line_severed_parameters_and_who_notices(look: Any) -> None:
    page = look("one")
    page.locator(".site[role=option]").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.id") == "s2"
    told = page.locator("#detail").inner_text()
    for part in (
        "block.c",
        "net.py:12",
        "Severed parameters: 2 (20 weights)",
        "c.weight",
        "c.bias",
        "Noticed by 2 of 2: cries-wolf, sees-none",
    ):
        assert part in told, part
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.id") == "s4"
    assert "backward() raises" in page.locator("#detail").inner_text()


def test_pointing_at_a_site_tells_of_it_and_of_the_single_uses_that_it_makes(look: Any) -> None:
    page = look("one")
    page.locator("#s3").hover()
    assert "block.d" in page.locator("#detail").inner_text()
    page.locator("#detail summary", has_text="Cut only what it reads of b").click()
    told = page.locator("#detail details[open]").inner_text()
    assert "gradient becomes wrong" in told
    assert "Nobody of 2 noticed." in told
    assert "a.weight" in told


def test_the_tab_key_stops_once_in_the_map(look: Any) -> None:
    page = look("one")
    assert page.locator(".site[tabindex='0']").count() == 1
    page.locator(".site[tabindex='0']").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#sites')") is None


def test_what_a_cut_does_differs_by_shape_and_words_and_not_by_colour_alone(look: Any) -> None:
    page = look("one")
    found = page.evaluate("[...document.querySelectorAll('use.mark')].map(one => [one.getAttribute('href'), one.getAttribute('class')])")
    shapes = {kind: {href for href, css in found if kind in css.split()} for kind in ("lost", "wrong", "raises")}
    assert shapes == {"lost": {"#g-lost"}, "wrong": {"#g-wrong"}, "raises": {"#g-raises"}}
    assert page.locator(".site[role=option] .does").all_inner_texts() == [*["lost, invisible"] * 4, "error"]
    assert page.locator(".halo").count() == 2  # the use that nobody notices, and the legend's


def test_the_residual_branch_has_a_lane_of_its_own(look: Any) -> None:
    page = look("one")
    across = page.evaluate(
        "[...document.querySelectorAll('.map-body use.mark')].filter(one => one.width.baseVal.value > 10).map(one => one.x.baseVal.value)"
    )
    assert across[2] > across[1] == across[0] == across[3] == across[4]


def test_the_legend_dims_what_is_not_asked_for(look: Any) -> None:
    page = look("one")
    page.locator(".legend button[data-cut=raises]").click()
    assert page.locator(".site:not(.dim)[role=option]").evaluate_all("all => all.map(one => one.id)") == ["s4"]
    page.locator(".legend button[data-cut=wrong]").click()
    assert page.locator(".site:not(.dim)[role=option]").evaluate_all("all => all.map(one => one.id)") == ["s3"]
    page.locator(".legend button[data-cut=wrong]").click()
    assert page.locator(".dim").count() == 0


def test_tables_in_the_page_sort_by_number_and_by_name_and_are_searched(look: Any) -> None:
    page = look("one")
    table = "#effects table"
    header = page.locator(f"{table} thead th", has_text="dead")
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert column(page, table, 2)[:2] == ["insert-detach", "zero-weight"]
    page.locator(f"{table} thead th", has_text="operator").locator("button").click()
    assert column(page, table, 2) == sorted(column(page, table, 2))
    page.locator("#effects input[type=search]").fill("FLIP")
    assert page.locator(f"{table} tbody tr:visible").count() == 1


def test_the_table_of_all_mutants_is_searched_filtered_and_sorted(look: Any) -> None:
    page = look("one")
    assert "11 of 11 rows" in page.locator("#found").inner_text()
    page.select_option("#by-kind", "nobody")
    assert column(page, "#all", 2) == ["b->d"]
    page.select_option("#by-kind", "invisible")
    assert page.locator("#all tbody tr").count() == 5
    page.select_option("#by-kind", "")
    page.select_option("#by-effect", "dead")
    page.fill("#find", "zero block.a")
    assert column(page, "#all", 1) == ["zero-weight"]
    page.fill("#find", "")
    page.locator("#all th", has_text="weights lost").locator("button").click()
    assert column(page, "#all", 7) == ["100", "80", "80", "80", "20"]
    page.locator("#all tbody button").first.click()
    told = page.locator("#all tr.told").inner_text()
    assert "insert-detach at d" in told
    assert "Noticed by 2 of 2" in told


def test_the_commands_name_the_mutant_as_a_shell_reads_it(look: Any) -> None:
    page = look("hostile")
    shown = page.locator("#worst .copy pre").first.inner_text()
    words = shlex.split(shown)
    assert words[:2] == ["gradfuzz", "show"]
    assert words[2].startswith("made:<script>")
    assert words[3:] == ["--seed", "7", "--input", "2x3", "--script", ">", "reproduce.py"]
    page.locator("#s3").click()
    again = page.locator("#detail pre").first.inner_text()
    assert shlex.split(again)[2] == words[2]


def test_the_code_before_and_after_stands_with_the_worst_fault(look: Any) -> None:
    page = look("one")
    first = page.locator("#worst .fault").first
    assert "insert-detach at d" in first.inner_text()
    assert first.locator("del").inner_text() == "- loss = mse_loss(d)"
    assert first.locator("ins").inner_text() == "+ d__detach = detach(d)"


def test_a_folder_without_a_graph_has_everything_but_the_map(look: Any) -> None:
    page = look("bare")
    assert "no graph.json" in page.locator("#map").inner_text()
    assert page.locator("#sites").count() == 0
    assert "11 of 11 rows" in page.locator("#found").inner_text()


@pytest.mark.parametrize("name", ["one", "many"])
def test_a_phone_scrolls_down_only(look: Any, name: str) -> None:
    page = look(name, PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    small = page.evaluate("[...document.querySelectorAll('p, td, th, dd, .site')].map(one => parseFloat(getComputedStyle(one).fontSize))")
    assert min(small) >= 12


def luminance(colour: str) -> float:
    """Relative luminance of an opaque CSS colour (WCAG 2.2)."""
    numbers = [float(part) for part in re.findall(r"[\d.]+", colour)][:3]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (number / 255 for number in numbers)]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


TEXTS = (
    "p",
    ".muted",
    "a",
    ".site .does",
    ".site .module",
    ".site .noticed",
    ".detail .verdict",
    ".badge",
    ".cards span",
    "summary",
    "del",
    "ins",
    "th button",
)
BEHIND = """one => {
  for (let at = one; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (!colour.startsWith('rgba(0, 0, 0, 0') ) return [getComputedStyle(one).color, colour];
  }
  return [getComputedStyle(one).color, getComputedStyle(document.body).backgroundColor];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_colour_schemes(look: Any, scheme: str) -> None:
    page = look("one", DESK, scheme)
    assert (luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.5) == (scheme == "light")
    for selector in TEXTS:
        for pair in page.locator(selector).evaluate_all(f"all => all.map({BEHIND})"):
            assert contrast(*pair) >= 4.5, (selector, pair)  # WCAG 2.2, success criterion 1.4.3
    marks = page.evaluate("[...document.querySelectorAll('use.mark')].map(one => getComputedStyle(one).color)")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert min(contrast(colour, ground) for colour in marks) >= 3  # 1.4.11


def test_the_contrast_formula_knows_its_ends() -> None:
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(119, 119, 119)", "rgb(255, 255, 255)") == pytest.approx(4.48, abs=0.01)


def test_everything_that_can_be_operated_has_a_name_and_images_have_a_text(look: Any) -> None:
    for name in ("one", "many"):
        page = look(name)
        operated = "[...document.querySelectorAll('button, input, select')]"
        assert page.evaluate(f"{operated}.filter(one => !one.textContent.trim() && !one.closest('label')).length") == 0
        assert page.evaluate("[...document.querySelectorAll('svg')].filter(one => !one.ariaHidden && !one.ariaLabel).length") == 0
        assert page.evaluate("document.documentElement.lang") == "en"


def test_figures_take_the_colour_of_the_page(look: Any) -> None:
    inks = {
        scheme: set(
            look("many", DESK, scheme).evaluate("[...document.querySelectorAll('figure text')].map(one => getComputedStyle(one).fill)")
        )
        for scheme in ("light", "dark")
    }
    assert len(inks["light"]) == len(inks["dark"]) == 1
    assert inks["light"] != inks["dark"]
