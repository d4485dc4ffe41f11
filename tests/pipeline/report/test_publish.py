import base64
import hashlib
import json
import logging
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import pipeline.report.publish
from pipeline.config.job import RunConfig
from pipeline.errors import ConfigError
from pipeline.manifest.tombstones import note_forgotten
from pipeline.report.formatting import shown
from pipeline.report.publish import KEY, make_report, report_run
from pipeline.review.take_back import take_back
from pipeline.storage.storage import Storage
from tests.conftest import make_photos
from tests.pipeline.flow_here import run_here
from tests.pipeline.report.conftest import NAMES, job


class Page(HTMLParser):
    """What a page consists of, as a browser would take it apart."""

    def __init__(self, html: bytes):
        super().__init__()
        self.tags, self.cards, self.texts, self.script = [], [], [], ""
        self.feed(html.decode())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag == "article":
            self.cards.append({**attributes, "pictures": []})
        if tag == "img":
            self.cards[-1]["pictures"].append(attributes["class"])

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script":
            self.script = self.script or data
        self.texts.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def cards(html: bytes) -> dict[str, dict]:
    return {card["data-name"]: card for card in Page(html).cards}


def test_page_shows_everything_and_nothing_of_it_becomes_code(ended):
    config, _ = ended
    html = make_report(Storage(config.sink.uri), {})
    page, text = Page(html), html.decode()
    assert len(page.of("script")) == 1 and "alert" not in page.script
    policy = next(meta["content"] for meta in page.of("meta") if "Content-Security" in meta.get("http-equiv", ""))
    digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'") and f"script-src 'sha256-{digest}'" in policy
    links = [value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")]
    assert links and all(link.startswith("data:") for link in links)
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert len(page.of("svg")) == 3 and all(chart["aria-label"] for chart in page.of("svg"))
    assert not page.of("i") and "\u202e" not in text
    shown_cards = cards(html)
    assert len(shown_cards) == 10
    for name in NAMES:
        assert shown_cards[shown(name).lower()]["pictures"] == ["after", "before", "hole"]
    assert shown_cards["untouched.png"]["data-status"] == "unchanged"
    assert shown_cards["broken.png"]["data-kind"] == "decode/UnreadableImage"
    assert shown_cards["without mask.png"]["data-kind"] == "mask/MissingMask"
    assert "of 1200×900" in text and "starts with b'</script><script'" in "".join(page.texts)


def test_source_that_is_gone_leaves_the_results_also_of_a_sink_that_was_moved(ended, tmp_path):
    config, _ = ended
    moved = tmp_path / "moved"
    shutil.copytree(config.sink.uri, moved)
    (moved / "data" / "005.png").write_bytes(b"no image any more")
    photos = Path(config.source.uri)
    photos.rename(photos.with_name("elsewhere"))
    hidden = Path(config.sink.uri)
    hidden.rename(hidden.with_name("hidden"))
    try:
        html = make_report(Storage(str(moved)), {})
    finally:
        photos.with_name("elsewhere").rename(photos)
        hidden.with_name("hidden").rename(hidden)
    assert cards(html)["large.jpg"]["pictures"] == ["after"]
    assert "the input cannot be shown: FileNotFoundError" in html.decode()
    assert cards(html)["005.png"]["pictures"] == [] and "no picture: not a supported image" in html.decode()
    (moved / "runs" / "20260101T000000-abcdef.json").unlink()
    assert b"the result cannot be shown" in make_report(Storage(str(moved)), {})  # nobody knows where it was


def test_run_that_did_not_reach_its_end_says_why(ended, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(ended[0].sink.uri, moved)
    (summary,) = (moved / "runs").iterdir()
    known = json.loads(summary.read_text())
    for state, sentence in (
        ("running", "has not ended (or was killed)"),
        ("failed", "failed before its end: these are its rows so far. <bdi>no &lt;room&gt;</bdi>"),
        ("ended", None),
    ):
        summary.write_text(json.dumps({**known, "state": state, "reason": "no <room>" if state == "failed" else None}))
        html = make_report(Storage(str(moved)), {}, samples=0).decode()
        assert sentence is None or sentence in html
        assert ("its rows so far" in html) == (sentence is not None)


def test_what_is_forgotten_while_a_report_is_made_is_not_in_it(ended, tmp_path, monkeypatch):
    sink = Storage(str(tmp_path / "out"))
    shutil.copytree(ended[0].sink.uri, sink.root)

    def choose(database, count):
        note_forgotten(sink, ["large.jpg"])
        return []

    monkeypatch.setattr(pipeline.report.publish, "choose_samples", choose)
    with pytest.raises(ConfigError, match="while its report was written; run the command again"):
        make_report(sink, {})


def test_pictures_end_when_their_time_is_over(ended, monkeypatch):
    monkeypatch.setattr(pipeline.report.publish, "MAX_READ_S", -1.0)
    html = make_report(Storage(ended[0].sink.uri), {})
    assert len(cards(html)) == 10 and b"took too long" in html and not Page(html).of("img")


@pytest.mark.parametrize("sink_format", ["webdataset", "parquet"])
def test_results_in_shards_are_shown(tmp_path, tiny_weights, here, sink_format):
    make_photos(tmp_path, count=2)
    config = job(tmp_path, tiny_weights, format=sink_format)
    run_here(config)
    shown_cards = cards(make_report(Storage(config.sink.uri), {}))
    assert [card["pictures"] for card in shown_cards.values()] == [["after", "before", "hole"]] * 2


def test_run_writes_its_report_and_a_second_run_is_not_disturbed(tmp_path, tiny_weights, here, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    make_photos(tmp_path, count=2)
    config = job(tmp_path, tiny_weights)
    summary = run_here(config, "first")
    page = tmp_path / "out" / KEY
    report_run(replace(config, run=RunConfig(report=False)), summary)
    assert not page.exists()
    report_run(config, summary)
    assert page.stat().st_size > 10_000 and f"report: {page}" in caplog.text
    page.unlink()
    again = run_here(config, "second")
    assert again.samples["done_now"] == 0 and again.samples["ok"] == 2
    report_run(config, again)
    assert not page.exists()
    caplog.clear()
    monkeypatch.setattr(Storage, "write", lambda *_: (_ for _ in ()).throw(OSError("the disk\nis full")))
    report_run(config, summary)
    (record,) = caplog.records
    assert record.levelname == "WARNING" and "no report: OSError: the disk\\nis full" in record.message


def test_report_lies_beside_the_results_on_object_storage(ended, s3_server):
    config, _ = ended
    sink = Storage("s3://bucket/reported", s3_server)
    for file in Storage(config.sink.uri).list_files():
        if re.match(r"manifest/|runs/|data/large", file.key):
            sink.write(file.key, Path(config.sink.uri, file.key).read_bytes())
    html = make_report(sink, s3_server)
    assert cards(html)["large.jpg"]["pictures"] == ["after", "before", "hole"]
    assert not [value for value in s3_server.values() if isinstance(value, str) and value in html.decode()]


def test_sink_without_rows_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no manifest with rows"):
        make_report(Storage(str(tmp_path)), {})


def test_reviews_are_in_the_page_and_none_of_their_words_becomes_code(tmp_path, tiny_weights, here):
    make_photos(tmp_path, count=4)
    config = job(tmp_path, tiny_weights)
    run_here(config)
    sink, path = Storage(config.sink.uri), tmp_path / "verdicts.csv"
    assert "Reviews" not in make_report(sink, {}).decode()
    columns = "sample_id,verdict,note,reviewer,round,stratum,stratum_rows,population,population_rows"
    lines = [
        f"{number:03}.png,{verdict},<i>note</i>,<b>Ada,r,s,4,all results,4"
        for number, verdict in enumerate(("bad", "good"))
    ]
    path.write_text("\n".join([columns, *lines]))
    take_back(sink, path)
    html = make_report(sink, {})
    page, text = Page(html), html.decode()
    assert "defects: 50 % (95 %: " in text and "2 of 4 results reviewed" in text
    assert "Present results by their latest verdict: 1 bad, 1 good." in text
    assert "<td><bdi>000.png</bdi></td><td><bdi>&lt;i&gt;note&lt;/i&gt;</bdi></td>" in text and not page.of("i")
