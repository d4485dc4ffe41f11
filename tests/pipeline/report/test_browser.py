"""The page in a real browser; skipped where none is installed (Debian: ``apt-get install chromium``)."""

import pytest

from pipeline.report.publish import make_report
from pipeline.storage.storage import Storage
from tests.pipeline.browser import needs_chromium

pytestmark = needs_chromium


@pytest.fixture
def page(browser, ended, tmp_path):
    """The report of the hostile sink; at the end, nothing may have gone wrong in it or been asked of a network."""
    path = tmp_path / "report.html"
    path.write_bytes(make_report(Storage(ended[0].sink.uri), {}))
    page, problems = browser.new_page(viewport={"width": 1280, "height": 900}), []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda asked: None if asked.url.startswith(("data:", "file:")) else problems.append(asked.url))
    page.goto(path.as_uri())
    yield page
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert problems == []
    page.close()


def names(page) -> list[str]:
    return page.locator("#cards .card:not([hidden]) .name").all_inner_texts()


def test_filters_leave_what_they_say(page):
    assert len(names(page)) == 10 and page.locator("#count").inner_text() == "10 of 10"
    page.get_by_label("ok", exact=True).uncheck()
    assert sorted(names(page)) == ["broken.png", "untouched.png", "without mask.png"]
    page.locator("#kind").select_option("mask/MissingMask")
    assert names(page) == ["without mask.png"]
    page.keyboard.press("Escape")
    page.locator("h1").click()
    assert len(names(page)) == 10
    page.keyboard.press("/")
    page.keyboard.type("<IMG onerror")
    assert names(page) == ["<img src=x onerror=alert(1)>.png"]
    page.keyboard.press("Escape")
    assert len(names(page)) == 10


def test_slider_uncovers_the_result_and_keys_go_from_sample_to_sample(page):
    view = page.locator("#cards .view:has(input)").first
    uncovered = "(view) => getComputedStyle(view.querySelector('.before')).clipPath"
    assert view.evaluate(uncovered) == "inset(0px 50% 0px 0px)"
    view.scroll_into_view_if_needed()
    box = view.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2)
    left = float(view.evaluate(uncovered).split()[1].rstrip("%"))
    assert 5 < left < 15
    assert not view.locator(".hole").is_visible()
    page.keyboard.press("h")
    assert view.locator(".hole").is_visible()
    page.locator("#cards .card").first.focus()
    page.keyboard.press("ArrowRight")
    second = page.evaluate("document.activeElement.querySelector('.name').innerText")
    assert second == names(page)[1]
    page.keyboard.press("Enter")
    large = page.locator("dialog")
    assert large.is_visible() and large.locator(".name").inner_text() == second
    page.keyboard.press("a")
    assert large.locator(".view").evaluate(uncovered) == "inset(0px 100% 0px 0px)"
    page.keyboard.press("ArrowLeft")
    assert large.locator(".name").inner_text() == names(page)[0]
    page.keyboard.press("Escape")
    assert not large.is_visible()
    focused = "(name) => document.activeElement.querySelector('.name')?.innerText === name"
    page.wait_for_function(focused, arg=names(page)[0])  # it is moved a moment after the dialog closes


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_phone_and_follows_its_colours(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper.strip("rgb()").split(","))) > 380) == (scheme == "light")
