"""Exports of sinks of every format, on disks and on S3, with the columns that they carry."""

import io
import os
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.config.job import JobConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.errors import ConfigError
from pipeline.export.plain_types import plain_value
from pipeline.export.registry import REFERENCES
from pipeline.manifest.log import Manifest
from pipeline.sinks.results import read_result
from pipeline.storage.storage import Storage
from tests.conftest import saved
from tests.pipeline.conftest import four_photos
from tests.pipeline.export.targets import KINDS, TABLES, make_sink, picture, place
from tests.pipeline.flow_here import run_here

SINKS = ("images", "webdataset", "parquet")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sink_format", SINKS)
def test_pixels_of_every_sink_arrive_byte_for_byte(here, tmp_path, sink_format, kind):
    config = four_photos(tmp_path, format=sink_format, shard_samples=3)
    run_here(config)
    sink, target = Storage(config.sink.uri), place(kind, tmp_path / "target")
    assert target.export(sink).added == 4
    rows = {row["sample_id"]: row for row in Manifest(sink).load().to_pylist()}
    found = target.by_id()
    assert found.keys() == rows.keys()
    for name, row in found.items():
        assert row["image"] == read_result(rows[name], {})
        Image.open(io.BytesIO(row["image"])).load()


def carrying(folder, sink_format: str, **columns) -> JobConfig:
    """A job over photos in a Parquet file, whose other columns are carried."""
    pixels = np.zeros((24, 24, 4), np.uint8)
    pixels[:8, :, 3] = 255
    colours = [np.array([seed, 9, 9, 0], np.uint8) for seed in range(len(next(iter(columns.values()))))]
    images = [saved(Image.fromarray(pixels + colour)) for colour in colours]
    (folder / "photos").mkdir()
    pq.write_table(pa.table({"image": images, **columns}), folder / "photos" / "a.parquet")
    return JobConfig(
        source=SourceConfig(format="parquet", uri=str(folder / "photos"), image="image"),
        mask=MaskConfig(kind="alpha"),
        sink=SinkConfig(uri=str(folder / "out"), format=sink_format, carry=list(columns), shard_samples=2),
    )


CARRIED = {
    "caption": pa.array(["a heron", None, "它"]),
    "label": pa.array([7, 8, None], pa.int16()),
    "box": pa.array([[1.5, 2.5], None, []]),
    "big": pa.array([2**63 + 1, 0, None], pa.uint64()),
    "raw": pa.array([b"\xff\x00", b"text", None]),
    "nothing": pa.nulls(3),
}


@pytest.mark.parametrize(
    "kind, images", [*((kind, "bytes") for kind in KINDS), *((kind, REFERENCES) for kind in TABLES)]
)
def test_carried_columns_of_a_parquet_sink_keep_their_types(here, tmp_path, kind, images):
    config = carrying(tmp_path, "parquet", **CARRIED)
    run_here(config)
    target = place(kind, tmp_path / "target")
    done = target.export(Storage(config.sink.uri), images)
    assert done.added == 3 and not done.unread
    found = target.by_id()
    values = {name: column.to_pylist() for name, column in CARRIED.items()}
    for number in range(3):
        row = found[f"a.parquet#{number}"]
        assert {name: row[name] for name in CARRIED} == {name: values[name][number] for name in CARRIED}
    assert target.export(Storage(config.sink.uri), images).version is None


@pytest.mark.parametrize("kind", ["parquet", "delta"])
def test_carried_values_of_a_tar_sink_are_text_and_bytes_where_they_are_none(here, tmp_path, kind):
    config = carrying(tmp_path, "webdataset", **{name: CARRIED[name] for name in ("caption", "label", "box", "raw")})
    run_here(config)
    target = place(kind, tmp_path / "target")
    assert not target.export(Storage(config.sink.uri)).unread
    found = target.by_id()
    first, second, third = (found[f"a.parquet#{number}"] for number in range(3))
    assert (first["caption"], third["caption"]) == ("a heron", "它") and second["caption"] is None
    assert (first["label"], first["box"], third["label"]) == ("7", "[1.5, 2.5]", None)
    assert (first["raw"], second["raw"], third["raw"]) == (b"\xff\x00", b"text", None)


def test_carried_columns_can_be_left_out(here, tmp_path):
    config = carrying(tmp_path, "parquet", caption=CARRIED["caption"])
    run_here(config)
    target = place("delta", tmp_path / "target")
    target.export(Storage(config.sink.uri), with_carried=False)
    assert "caption" not in target.rows()[0]


@pytest.mark.parametrize("kind", KINDS)
def test_carried_columns_that_were_left_out_come_with_the_next_export(here, tmp_path, kind):
    config = carrying(tmp_path, "parquet", caption=CARRIED["caption"])
    run_here(config)
    target = place(kind, tmp_path / "target")
    target.export(Storage(config.sink.uri), with_carried=False)
    done = target.export(Storage(config.sink.uri))
    assert done.replaced_all and {row["caption"] for row in target.rows()} == {"a heron", None, "它"}
    assert target.export(Storage(config.sink.uri)).version is None


@pytest.mark.parametrize("damaged", [0, 1])
def test_rows_of_a_tar_shard_that_is_cut_short_are_left_out_and_counted(here, tmp_path, damaged):
    config = carrying(tmp_path, "webdataset", caption=CARRIED["caption"])
    run_here(config)
    shards = sorted((tmp_path / "out" / "data").rglob("*.tar"))
    shards[damaged].write_bytes(shards[damaged].read_bytes()[:700])
    target = place("parquet", tmp_path / "target")
    done = target.export(Storage(config.sink.uri))
    lost = (2, 1)[damaged]
    assert done.rows == 3 - lost and done.unread.total() == lost


@pytest.mark.parametrize(
    "kind, name, message",
    [
        ("delta", "Status", "cannot hold the columns status, Status: Delta Lake does not tell capital letters"),
        ("lance", "a.b", "cannot hold the columns a.b: Lance takes a dot for a nested column"),
    ],
)
def test_names_of_columns_that_a_format_cannot_hold_are_refused(here, tmp_path, kind, name, message):
    config = carrying(tmp_path, "parquet", **{name: CARRIED["caption"]})
    run_here(config)
    target = place(kind, tmp_path / "target")
    with pytest.raises(ConfigError, match=re.escape(message)):
        target.export(Storage(config.sink.uri))
    assert target.export(Storage(config.sink.uri), with_carried=False).added == 3


def test_integer_that_a_fraction_cannot_hold_is_not_rounded():
    assert plain_value(pa.scalar(2**53), pa.float64()) == 2.0**53
    with pytest.raises(pa.ArrowInvalid):
        plain_value(pa.scalar(2**53 + 1), pa.float64())


def test_column_that_is_carried_later_appears_in_all_rows(here, tmp_path):
    config = carrying(tmp_path, "parquet", caption=CARRIED["caption"])
    run_here(replace(config, sink=replace(config.sink, carry=[])))
    sink = Storage(config.sink.uri)
    targets = [place(kind, tmp_path / f"target-{kind}") for kind in KINDS]
    for target in targets:
        target.export(sink)
    os.utime(tmp_path / "photos" / "a.parquet", (1, 1))  # a changed file, whose samples are done again
    run_here(config, "again")
    for target in targets:
        done = target.export(sink)
        assert done.replaced_all and done.changed == 3
        assert {row["caption"] for row in target.rows()} == {"a heron", None, "它"}
        assert target.export(sink).version is None


@pytest.mark.parametrize("kind", ["parquet", "imagefolder", "delta", "lance"])
def test_sinks_and_targets_may_be_in_buckets(s3_server, tmp_path, kind):
    bucket = Storage("s3://export-test", s3_server)
    bucket.filesystem.makedirs("export-test", exist_ok=True)
    local = make_sink(tmp_path / "sink")
    remote = Storage(f"s3://export-test/{kind}-sink", s3_server)
    for row in (rows := Manifest(local).load().to_pylist()):
        if row["output_uri"]:
            key = local.key(row["output_uri"])
            remote.write(key, local.read(key))
            row["output_uri"] = remote.uri(key)
    manifest = Manifest(remote)
    manifest.load(["sample_id"])
    manifest.append(pa.Table.from_pylist(rows, Manifest(local).load().schema))
    target = place(kind, tmp_path / "target")
    target = replace(
        target, uri=f"s3://export-test/{kind}-target{'.lance' if kind == 'lance' else ''}", options=s3_server
    )
    assert target.export(remote).added == 5
    assert target.export(remote).version is None
    with target.open() as opened:
        assert opened.state() is not None
        exported = pa.Table.from_batches(opened.exported())
    assert sorted(exported["sample_id"].to_pylist()) == [f"a/{n}.png" for n in range(5)]
    files = Storage(target.uri, s3_server)
    contents = {file.key: files.read(file.key) for file in files.list_files()}
    tables = [pq.read_table(io.BytesIO(data)) for key, data in contents.items() if key.endswith(".parquet")]
    if kind == "lance":
        assert picture(3)[40:300] in b"".join(contents.values())
    elif kind == "imagefolder":
        assert picture(3) in contents.values()
    else:
        images = pa.concat_tables(tables)["image"].to_pylist()
        assert picture(3) in [image["bytes"] if kind == "parquet" else image for image in images]
