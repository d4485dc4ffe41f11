"""The page of blind pairs in a real browser; skipped where none is installed."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from jobs.evaluate import main
from pipeline.evaluation.votes.pairs import DrawnPair, Pair, unseal
from pipeline.evaluation.votes.render import render_votes
from tests.conftest import textured
from tests.pipeline.browser import needs_chromium

METHODS = ["telea", "navier-stokes"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for index in range(3):
        Image.fromarray(textured(100, 140, index)).save(folder / f"{index}.png")
    written = folder / "out" / "page.html"
    arguments = ["--weights", "--baselines", *METHODS, "--masks", "objects", "text", "--no-features", "--pairs", "5"]
    assert main([str(folder), *arguments, "--page", str(written)]) == 0
    return written


class Outside(HTMLParser):
    """Everything that the page says outside its table, attributes too."""

    def __init__(self):
        super().__init__()
        self.in_table, self.found = False, []

    def handle_starttag(self, tag, attributes):
        self.in_table |= tag == "table"
        self.found += [str(value) for _, value in attributes]

    def handle_endtag(self, tag):
        self.in_table &= tag != "table"

    def handle_data(self, data):
        if not self.in_table:
            self.found.append(data)


def test_page_needs_nothing_else_and_says_nowhere_whose_fill_is_whose(file):
    text = file.read_text()
    outside = Outside()
    outside.feed(text)
    assert not any(method in part for part in outside.found for method in METHODS)
    assert "default-src 'none'; img-src data:" in text and text.count('<article class="pair"') == 5
    assert not any(part.startswith(("http:", "https:", "//")) for part in outside.found)


def name_of(*pictures):
    """The name under which a browser keeps the votes of a page of one pair."""
    pair = DrawnPair(Pair(0, "a.png", "text", *METHODS).sealed(), *pictures, (9, 9))
    (name,) = re.findall(r'"name": "(\w+)"', render_votes([pair], [], [], []).decode())
    return name


def test_page_of_other_pictures_has_another_name_so_that_votes_on_the_older_one_do_not_apply():
    name = name_of("data:1", "data:2", "data:3")
    assert name == name_of("data:1", "data:2", "data:3")
    others = {name_of(*pictures) for pictures in (("data:9", "data:2", "data:3"), ("data:1", "data:9", "data:3"))}
    assert len({name, *others, name_of("data:1", "data:2", "data:9")}) == 4


@pytest.fixture
def page(browser, file):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page, problems = context.new_page(), []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(file.as_uri())
    yield page
    assert problems == []
    context.close()


def shown_pictures(page):
    return page.evaluate(
        "[...document.querySelectorAll('.pair:not([hidden]) img:not(.hole)')].map((image) => image.src)"
    )


@needs_chromium
def test_votes_by_keys_are_kept_saved_and_counted(page, capsys):
    first = shown_pictures(page)
    for key in ("ArrowLeft", "ArrowRight", "=", "Enter", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.locator("#count").inner_text() == "4 of 5 voted" and len(set(first)) == 2
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    page.locator("button[data-choice=equal]").click()  # taken back
    assert page.locator("#count").inner_text() == "3 of 5 voted"
    page.keyboard.press("h")
    assert page.locator(".pair:not([hidden]) .hole").first.is_visible()
    page.on("dialog", lambda dialog: dialog.accept())  # since they are not saved yet
    page.reload()
    assert page.locator("#count").inner_text() == "3 of 5 voted" and shown_pictures(page) == first
    with page.expect_download() as download:
        page.keyboard.press("s")
    saved = Path(download.value.path())
    votes = json.loads(saved.read_text())["votes"]
    assert [vote["choice"] for vote in votes] == ["left", "right", "left"]
    winners = [getattr(unseal(vote["pair"]), vote["choice"]) for vote in votes]
    assert main(["--votes", str(saved)]) == 0
    lines = capsys.readouterr().out.splitlines()
    for method in METHODS:
        line = next(line for line in lines if line.startswith(method)).split()
        assert line[1:4] == [str(winners.count(method)), str(3 - winners.count(method)), "0"]
