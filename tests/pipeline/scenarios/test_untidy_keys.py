"""Keys of object stores that disks and paths cannot tell apart, and the type that results are served as."""

import hashlib
import io
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.config.job import JobConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.maintenance.verify import verify
from pipeline.records import OK
from pipeline.report.publish import report_run
from pipeline.sinks.results import read_result
from pipeline.storage.content_types import content_type
from pipeline.storage.storage import Storage
from tests.flat_bucket import flat_bucket
from tests.pipeline.flow_here import run_here
from tests.pipeline.scenarios.test_hostile_shards import MASK, png

KEYS = ["x/y.png", "x//y.png", "x///y.png", "//y.png", "/y.png", "a?versionId=3.png", "a", "n\newline #%2F+[]{}.png"]
HOLE = np.asarray(Image.open(io.BytesIO(MASK))) > 0


@pytest.fixture(scope="module")
def bucket():
    """Options and objects of a bucket with a picture of its own under each key."""
    with flat_bucket() as (options, objects):
        for seed, key in enumerate(KEYS):
            objects[f"p/{key}"] = png(seed), ""
            objects[f"masks/{key}"] = MASK, ""
        objects["p/marker.png/"] = png(), ""
        objects["p/folder/"] = b"", ""
        objects["mask.png"] = MASK, ""
        yield options, objects


def rows_of(config: JobConfig) -> list[dict]:
    sink = Storage(config.sink.uri, config.storage if "://" in config.sink.uri else {})
    parts = [sink.read(file.key) for file in sink.list_files("manifest")]
    return pa.concat_tables([pq.read_table(pa.BufferReader(part)) for part in parts]).to_pylist()


def check(config: JobConfig, row: dict, seed: int) -> None:
    """A row is ok and names a result of its own sample, with its own hash."""
    assert row["status"] == OK, row["error_message"]
    result = read_result(row, config.storage if "://" in config.sink.uri else {})
    assert hashlib.sha256(result).hexdigest() == row["output_sha256"]
    pictures = (np.asarray(Image.open(io.BytesIO(data))) for data in (png(seed), result))
    before, after = (picture[~HOLE] for picture in pictures)
    assert np.array_equal(before, after)


@pytest.mark.parametrize("kind", ["static", "paired"])
@pytest.mark.parametrize("form", ["images", "parquet"])
@pytest.mark.parametrize("is_local", [True, False])
def test_each_key_has_its_own_result(here, bucket, tmp_path, form, is_local, kind):
    options, _ = bucket
    sink = str(tmp_path / "out") if is_local else f"s3://bucket/{tmp_path.name}"
    mask = MaskConfig(kind, "s3://bucket/mask.png" if kind == "static" else "s3://bucket/masks")
    config = JobConfig(SourceConfig(uri="s3://bucket/p"), mask, sink=SinkConfig(sink, form), storage=options)
    summary = run_here(config)
    assert summary.left_out == {"without extension": 2}  # not the marker of a folder
    rows = {row["sample_id"]: row for row in rows_of(config)}
    assert rows.keys() == {key for key in KEYS if key != "a"}
    for name, row in rows.items():
        check(config, row, KEYS.index(name))
    assert len({(row["output_uri"], row["output_member"]) for row in rows.values()}) == len(rows)
    assert verify(Storage(sink, {} if is_local else options), "look", with_hashes=True).agree
    assert run_here(replace(config), "again").samples["done_now"] == 0


@pytest.mark.parametrize("prefix", ["s3://bucket/p/", "s3a://bucket/p/", ""])
def test_uri_in_a_table_leads_to_its_own_object(here, bucket, tmp_path, prefix):
    options, objects = bucket
    table = io.BytesIO()
    pq.write_table(pa.table({"image": [prefix + key for key in KEYS], "id": [str(n) for n in range(len(KEYS))]}), table)
    objects["p/t.parquet"] = table.getvalue(), ""
    source = SourceConfig("parquet", "s3://bucket/p/t.parquet", key="id")
    mask = MaskConfig("static", "s3://bucket/mask.png")
    config = JobConfig(source, mask, sink=SinkConfig(str(tmp_path / "out")), storage=options)
    run_here(config)
    del objects["p/t.parquet"]
    rows = rows_of(config)
    assert len(rows) == len(KEYS)
    for row in rows:
        check(config, row, int(row["sample_id"]))


def test_object_is_deleted_under_its_whole_key(bucket):
    options, objects = bucket
    storage = Storage("s3://bucket/deleted", options)
    for key in ("a", "a?versionId=1", "b", "b/"):
        storage.write(key, key.encode())
    storage.delete("a?versionId=1")
    storage.delete("b/")
    assert {key: data for key, (data, _) in objects.items() if key.startswith("deleted/")} == {
        "deleted/a": b"a", "deleted/b": b"b"
    }  # fmt: skip


@pytest.mark.parametrize("form", ["images", "webdataset", "parquet"])
def test_objects_have_the_type_of_what_they_hold(here, bucket, form):
    options, objects = bucket
    for name, kind in (("a.png", "PNG"), ("b.JPG", "JPEG"), ("c.webp", "WEBP"), ("d.tif", "TIFF"), ("e.jpg", "PNG")):
        picture = io.BytesIO()
        Image.open(io.BytesIO(png())).save(picture, kind)
        objects[f"kinds/{name}"] = picture.getvalue(), ""
    source, mask = SourceConfig(uri="s3://bucket/kinds"), MaskConfig("static", "s3://bucket/mask.png")
    config = JobConfig(source, mask, sink=SinkConfig(f"s3://bucket/types-{form}", form), storage=options)
    report_run(config, run_here(config))
    written = {key.partition("/")[2]: kind for key, (_, kind) in objects.items() if key.startswith(f"types-{form}/")}
    kinds = {key.rpartition(".")[2]: kind for key, kind in written.items()}
    images = {
        "png": "image/png", "JPG": "image/jpeg", "webp": "image/webp", "tif": "image/tiff", "jpg": "image/png"
    }  # fmt: skip
    shards = {"webdataset": {"tar": "application/x-tar"}, "parquet": {}, "images": images}[form]
    assert shards.items() <= kinds.items() and any(key.startswith("data/") for key in written)
    assert written["report.html"] == "text/html; charset=utf-8" and written["runs/run.json"] == "application/json"
    assert {kind for key, kind in written.items() if key.endswith("parquet")} == {"application/vnd.apache.parquet"}


def test_large_objects_have_a_type_too(s3_server, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.storage.s3.MAX_PUT_BYTES", 3)
    storage = Storage(f"s3://bucket/{tmp_path.name}", s3_server)
    (tmp_path / "local").write_bytes(b"12345")
    storage.write("a.json", b"[12345]")
    storage.upload("b.tar", str(tmp_path / "local"))
    kinds = [storage.filesystem.info(f"{storage.root}/{key}")["ContentType"] for key in ("a.json", "b.tar")]
    assert kinds == ["application/json", "application/x-tar"]


@pytest.mark.parametrize(
    ("key", "beginning", "kind"),
    [
        ("a.bmp", b"BM1234", "image/bmp"),
        ("a.PPM", b"P6 1 1", "image/x-portable-pixmap"),
        ("a", b"RIFF1234WEBPVP8 ", "image/webp"),
        ("a", b"RIFF1234AVI LIST", "application/octet-stream"),
        ("a.json", b"\x89PNG\r\n\x1a\n", "image/png"),
        ("a", b"\0\0\0\x20ftypavif", "image/avif"),
    ],
)
def test_content_type(key, beginning, kind):
    assert content_type(key, beginning) == kind


ODD = ["-rf", "a b ", "a\nb", "#?%+[]{}", "a%20b", "$HOME", "~a", 'it\'s "q"', "a::b", "📷", "x" * 251, "y" * 250]


@pytest.mark.parametrize("image_format", ["source", "png"])
def test_odd_and_long_names_are_results_or_say_why_not(here, tmp_path, image_format):
    for name in ODD:
        for folder, content in (("photos", png()), ("masks", MASK)):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{name}.png").write_bytes(content)
    source, mask = SourceConfig(uri=str(tmp_path / "photos")), MaskConfig(uri=str(tmp_path / "masks"))
    sink = SinkConfig(str(tmp_path / "out"), image_format=image_format)
    config = JobConfig(source, mask, sink=sink)
    run_here(config)
    rows = {row["sample_id"]: row for row in rows_of(config)}
    assert rows.keys() == {f"{name}.png" for name in ODD}
    refused = [row for row in rows.values() if image_format == "png" and len(row["sample_id"]) > 251]
    for row in rows.values():
        if row in refused:
            assert row["error_type"] == "UnusableName" and "name of the result is too long" in row["error_message"]
        else:
            check(config, row, 0)
    assert len(refused) == (2 if image_format == "png" else 0)


def test_result_that_needs_a_folder_where_another_lies_says_so(here, bucket, tmp_path):
    options, objects = bucket
    for key in ("a.png", "a.png/b.png"):
        objects[f"nested/{key}"] = png(), ""
    source, mask = SourceConfig(uri="s3://bucket/nested"), MaskConfig("static", "s3://bucket/mask.png")
    config = JobConfig(source, mask, sink=SinkConfig(str(tmp_path / "out")), storage=options)
    assert run_here(config).errors == {"UnusableName": 1}
    (row,) = (row for row in rows_of(config) if row["status"] == OK)
    check(config, row, 0)
