import json
import shutil
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

import pipeline.extras
from pipeline.config.job import MaskConfig
from pipeline.report.publish import make_report
from pipeline.report.row_files import RowFiles, RowFilesReader
from pipeline.storage.storage import Storage
from tests.conftest import make_photos
from tests.pipeline.flow_here import run_here
from tests.pipeline.report.conftest import job
from tests.pipeline.report.test_publish import cards


@pytest.mark.parametrize("uri", ["/etc/hostname", "{sink}/data/../../photos/005.png"])
def test_result_is_never_read_outside_the_sink(ended, uri):
    config, _ = ended
    sink = Storage(config.sink.uri)
    row = pq.read_table(f"{config.sink.uri}/manifest").to_pylist()[0]
    row |= {"output_uri": uri.format(sink=sink), "output_member": None}
    files = RowFilesReader(sink, {}, [row], max_s=60).read(row)
    assert files.result is None and "the result cannot be shown" in files.missing


def test_holes_are_those_of_the_run_also_when_annotations_have_changed(tmp_path, tiny_weights, here):
    make_photos(tmp_path, count=3)
    boxes = tmp_path / "boxes.jsonl"

    def annotate(left: int) -> None:
        lines = [{"sample_id": f"{index:03}.png", "boxes": [[left, 20, 60, 40]]} for index in range(2)]
        boxes.write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    annotate(30)
    config = replace(job(tmp_path, tiny_weights), mask=MaskConfig(kind="boxes", uri=str(boxes)))
    run_here(config)
    html = make_report(Storage(config.sink.uri), {})
    assert [card["pictures"] for card in cards(html).values()] == [["after", "before", "hole"]] * 2 + [[]]
    assert b"cannot be shown" not in html
    annotate(10)
    html = make_report(Storage(config.sink.uri), {})
    assert [card["pictures"] for card in cards(html).values()] == [["after"]] * 2 + [[]]
    assert html.count(b"boxes.jsonl has changed for this sample") == 2


def test_nothing_is_read_of_what_could_not_be_read_nor_of_what_is_too_large(ended, monkeypatch):
    sink = Storage(ended[0].sink.uri)
    rows = pq.read_table(f"{sink}/manifest").to_pylist()
    ok = next(row for row in rows if row["sample_id"] == "large.jpg")
    reader = RowFilesReader(sink, {}, rows, max_pixels=1_000_000)
    monkeypatch.setattr(Storage, "read", lambda *_: pytest.fail("it was read"))
    assert reader.read({**ok, "error_stage": "read"}) == RowFiles()
    assert reader.read(ok) == RowFiles(missing="a photo of 1 megapixels is too large for a picture here")


def test_results_are_shown_where_nothing_is_installed_that_finds_text(ended, tmp_path, monkeypatch):
    moved = tmp_path / "moved"
    shutil.copytree(ended[0].sink.uri, moved)
    (summary,) = (moved / "runs").iterdir()
    known = json.loads(summary.read_text())
    known["configuration"]["mask"]["kind"] = "text"
    summary.write_text(json.dumps(known))
    monkeypatch.setitem(pipeline.extras.EXTRAS, "text", {"no_such_module": "no-such-package"})
    html = make_report(Storage(str(moved)), {})
    assert cards(html)["large.jpg"]["pictures"] == ["after"]
    assert b"the input cannot be shown: ConfigError: mask.kind=text needs no-such-package" in html
