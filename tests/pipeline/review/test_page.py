"""The page of a review in a real browser; skipped where none is installed (Debian: ``apt-get install chromium``)."""

import csv
import io
from pathlib import Path

import pytest

from pipeline.review.draw import draw_sample
from pipeline.review.hand_out import hand_out
from pipeline.review.verdicts_csv import COLUMNS
from pipeline.storage.storage import Storage
from tests.pipeline.browser import needs_chromium
from tests.pipeline.review.conftest import LARGE, NAMES

LOADED = "[...document.querySelectorAll('.card:not([hidden]) img')].every((image) => image.naturalWidth > 0)"
pytestmark = needs_chromium


@pytest.fixture(scope="module")
def folder(reviewed_job, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "review"
    sink = Storage(reviewed_job.sink.uri)
    hand_out(sink, {}, draw_sample(sink, None, None, 100, 0), "folder", folder)
    return folder


@pytest.fixture
def page(browser, folder):
    """The page of six results; at the end, nothing may have gone wrong in it or been asked of a network."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page, problems = context.new_page(), []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith(("data:", "file:", "blob:")) else problems.append(asked.url),
    )
    page.goto((folder / "index.html").as_uri())
    yield page
    assert problems == []
    context.close()


def wait_for_pictures(page) -> None:
    """Wait until the pictures that are shown are loaded; the page's own policy forbids Playwright to poll in it."""
    while not page.evaluate(LOADED):
        page.wait_for_timeout(50)


def lines_of(data: bytes) -> list[dict]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def saved(page) -> list[dict]:
    with page.expect_download() as download:
        page.keyboard.press("s")
    assert download.value.suggested_filename == "verdicts.csv"
    return lines_of(Path(download.value.path()).read_bytes())


def shown(page) -> str:
    return page.locator("#cards .card:not([hidden]) .name").inner_text()


def test_keys_give_verdicts_and_the_saved_table_holds_them(page, folder):
    before = lines_of((folder / "verdicts.csv").read_bytes())
    page.locator("#reviewer").fill('=Ada, "A" ü')
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("b")
    page.keyboard.press("ArrowLeft")  # back to the bad one
    page.keyboard.press("n")
    page.keyboard.type('-two "eyes", gone')
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # to the first one without a verdict
    page.locator("button[data-verdict=unsure]").click()
    page.keyboard.press(" ")  # compares, and is no second click
    assert page.locator("#count").inner_text() == "3 of 6: 1 good, 1 bad, 1 unsure"
    lines = saved(page)
    assert [line["verdict"] for line in lines] == ["good", "bad", "unsure", "", "", ""]
    assert lines[1]["note"] == '\'-two "eyes", gone' and {line["reviewer"] for line in lines[:3]} == {'\'=Ada, "A" ü'}
    assert all(line["reviewed_at"].endswith("Z") == bool(line["verdict"]) for line in lines)
    kept = set(COLUMNS) - {"verdict", "note", "reviewer", "reviewed_at"}
    assert [{name: line[name] for name in kept} for line in lines] == [
        {name: line[name] for name in kept} for line in before
    ]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("u")  # taken back
    assert "2 of 6" in page.locator("#count").inner_text()
    page.evaluate("localStorage.clear()")


def test_verdicts_are_still_there_when_the_page_is_opened_again(page):
    page.keyboard.press("g")
    page.keyboard.press("b")
    page.on("dialog", lambda dialog: dialog.accept())  # since they are not saved yet
    page.reload()
    assert page.locator("#count").inner_text() == "2 of 6: 1 good, 1 bad, 0 unsure"
    page.keyboard.press("Enter")
    assert page.locator("#strip [aria-current]").inner_text() == "3"
    page.evaluate("localStorage.clear()")


def test_every_result_is_shown_before_and_after_whatever_its_name(page):
    names = []
    for _ in range(6):
        names.append(shown(page))
        view = page.locator("#cards .card:not([hidden]) .view").locator("visible=true")
        wait_for_pictures(page)
        uncovered = "(view) => getComputedStyle(view.querySelector('.before')).clipPath"
        assert view.count() == 1 and view.evaluate(uncovered) == "inset(0px 100% 0px 0px)"
        page.keyboard.press(" ")
        assert view.evaluate(uncovered) == "inset(0px 0% 0px 0px)"
        assert not view.locator(".hole").is_visible()
        page.keyboard.press("h")
        assert view.locator(".hole").is_visible()
        page.keyboard.press("h")
        page.keyboard.press("ArrowRight")
    assert sorted(names) == sorted([*NAMES, "004.png", LARGE])


def test_large_photo_is_shown_upright_as_a_whole_and_at_full_resolution_around_its_hole(page):
    while shown(page) != LARGE:
        page.keyboard.press("ArrowRight")
    card = page.locator("#cards .card:not([hidden])")
    assert card.locator(".detail").is_visible() and not card.locator(".whole").is_visible()
    size = "(view) => [...view.querySelectorAll('img')].map((image) => [image.naturalWidth, image.naturalHeight])"
    wait_for_pictures(page)
    assert card.locator(".detail").evaluate(size) == [[160, 200]] * 3  # the hole and 50 pixels around it, turned
    page.keyboard.press("z")
    assert card.locator(".whole").is_visible() and card.locator(".whole").evaluate(size) == [[933, 1400]] * 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_phone_and_follows_its_colours(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper.strip("rgb()").split(","))) > 380) == (scheme == "light")
