"""Lists of files: what they name, what is refused, and what a plan says of them."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs.plan import main as plan
from pipeline.config.job import JobConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.manifest.log import Manifest
from pipeline.planning.listing import find_samples
from pipeline.planning.plan import make_plan
from pipeline.storage.storage import Storage
from tests.pipeline.conftest import four_photos
from tests.pipeline.flow_here import run_here

ROWS = {
    "key": ["a/1.jpg", "a/2.jpg"],
    "size": [10, 20],
    "etag": ["e1", "e2"],
    "mask": ["m/1.png", "m/2.png"],
    "mask_etag": ["f1", "f2"],
}


def write(path: Path, rows: dict[str, Any]) -> Path:
    """A list in the format of the file's extension."""
    table, name = pa.table(rows), path.name.removesuffix(".gz")
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".parquet"):
        pq.write_table(table, path)
        return path
    if name.endswith(".csv"):
        sink = pa.BufferOutputStream()
        pyarrow.csv.write_csv(table, sink)
        data = sink.getvalue().to_pybytes()
    else:
        data = b"".join(json.dumps(row).encode() + b"\n" for row in table.to_pylist())
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def job(path: Path, mask: MaskConfig | None = None, **source: Any) -> JobConfig:
    folder = path.parent
    root = source.pop("root", str(folder / "photos"))
    return JobConfig(
        source=SourceConfig(format="list", uri=str(path), root=root, **source),
        mask=mask or MaskConfig(uri=str(folder / "masks"), column="mask"),
        sink=SinkConfig(uri=str(folder / "out")),
    )


class NothingListed(Storage):
    """A storage whose files must be neither listed nor looked at."""

    def list_files(self, *_: Any, **__: Any) -> Any:
        raise AssertionError(f"{self} is listed")

    def stat(self, key: str = "") -> Any:
        raise AssertionError(f"{key} is looked at")


def found(config: JobConfig) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Samples of a job, by name, and what was left out; nothing but the list is read."""
    with Database() as database:
        left_out = find_samples(config, database, open_storage=NothingListed)
        (table,) = database.stream("SELECT * FROM samples ORDER BY sample_id", 1000)
        return table.to_pylist(), left_out


def faults(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["sample_id"]: row["fault"].partition(":")[0] for row in rows if row["fault"]}


@pytest.mark.parametrize("name", ["list.parquet", "list.csv", "list.csv.gz", "list.jsonl", "list.jsonl.gz", "l.ndjson"])
def test_rows_are_samples_with_their_masks_and_nothing_is_listed(tmp_path, name):
    rows, left_out = found(job(write(tmp_path / name, ROWS)))
    assert [(row["sample_id"], row["size_bytes"], row["mask_key"]) for row in rows] == [
        ("a/1.jpg", 10, "m/1.png"),
        ("a/2.jpg", 20, "m/2.png"),
    ]
    assert [row["input_version"] for row in rows] == ["~e1 mask:~f1", "~e2 mask:~f2"]
    assert not faults(rows) and left_out == {}


def test_list_of_masks_that_changes_is_noticed(tmp_path):
    versions = []
    for masks in (["a.png"], ["a.png", "b.png"], ["b.png"]):
        rows = {"key": ["1.jpg"], "etag": ["e"], "mask": pa.array([masks], pa.list_(pa.string()))}
        ((row,), _) = found(job(write(tmp_path / "l.parquet", rows)))
        versions.append(row["input_version"])
    assert len(set(versions)) == 3 and all(version.startswith("~e mask:~") for version in versions)


def test_etag_of_a_bucket_is_checked_and_any_other_is_marked(tmp_path):
    rows, _ = found(job(write(tmp_path / "l.parquet", ROWS), MaskConfig("alpha"), root="s3://bucket/photos"))
    assert [row["input_version"] for row in rows] == ["e1", "e2"]


def test_version_is_the_etag_else_size_and_time_else_unknown(tmp_path):
    changed = pa.array([1, 1, None], pa.timestamp("s"))
    rows = {"key": ["1.jpg", "2.jpg", "3.jpg"], "size": [5, 6, 7], "etag": ['"e"', "", None], "last_modified": changed}
    versions = [row["input_version"] for row in found(job(write(tmp_path / "l.parquet", rows), MaskConfig("alpha")))[0]]
    assert versions == ["~e", "~6-1970-01-01 00:00:01.000", ""]


def test_folders_and_patterns_of_lists(tmp_path):
    for index in range(3):
        write(tmp_path / f"lists/part-{index}.csv", {"key": [f"{index}.jpg"]})
    write(tmp_path / "lists/other.parquet", {"key": ["other.jpg"]})
    (tmp_path / "lists/_SUCCESS").touch()
    alpha = MaskConfig("alpha")
    everything, _ = found(job(tmp_path / "lists", alpha))
    assert [row["sample_id"] for row in everything] == ["0.jpg", "1.jpg", "2.jpg", "other.jpg"]
    some, _ = found(job(tmp_path / "lists/part-[01].csv", alpha))
    assert [row["sample_id"] for row in some] == ["0.jpg", "1.jpg"]


def test_other_names_of_columns(tmp_path):
    path = write(tmp_path / "l.parquet", {"photo": ["1.jpg"], "bytes": [7], "md5": ["x"], "matte": ["1.png"]})
    config = job(path, MaskConfig(column="matte"), key="photo", columns={"size": "bytes", "etag": "md5"})
    (row,), _ = found(config)
    assert (row["sample_id"], row["size_bytes"], row["input_version"]) == ("1.jpg", 7, "~x mask:")
    with pytest.raises(ConfigError, match=r"l.parquet has no column key; it has photo.*in source.key"):
        found(job(path, MaskConfig("alpha")))
    with pytest.raises(ConfigError, match=r"has no column wrong.*in source.columns.size"):
        found(job(path, MaskConfig("alpha"), key="photo", columns={"size": "wrong"}))
    with pytest.raises(ConfigError, match=r"has no column mask.*in mask.column"):
        found(job(path, key="photo"))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("key", [1, 2], "must hold text"),
        ("size", ["ten", "20"], "must hold sizes in bytes"),
        ("size", [-1, 1], "-1 is negative"),
        ("etag", [[1], [2]], "must hold text"),
        ("mask", [1.5, 2.5], "must hold text"),
    ],
)
def test_column_of_a_wrong_type_stops_the_job_and_is_named(tmp_path, key, value, message):
    path = write(tmp_path / "l.parquet", {**ROWS, key: value})
    with pytest.raises(ConfigError, match=rf"l.parquet: the column {key} .*{message}"):
        found(job(path))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("l.parquet", b"PAR1 no more"),
        ("l.csv", b"key,size\na.jpg\n"),
        ("l.csv.gz", gzip.compress(b"key\n" + b"a.jpg\n" * 9999, mtime=0)[:40]),
        ("l.csv.gz", b"no gzip"),
        ("l.csv", b""),
        ("l.jsonl", b'{"key": "a.jpg"}\n{"key": \n'),
        ("l.jsonl", b'{"key": "a.jpg", "size": 1}\n{"key": "a.jpg", "size": "x"}\n'),
    ],
)
def test_file_that_cannot_be_read_stops_the_job_and_is_named(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=rf"source.uri: .*{name} cannot be read as .*"):
        found(job(tmp_path / name, MaskConfig("alpha")))


def test_list_that_is_not_there_or_has_another_format(tmp_path):
    with pytest.raises(ConfigError, match=r"source.uri: nothing at .*l.csv"):
        found(job(tmp_path / "l.csv", MaskConfig("alpha")))
    (tmp_path / "l.txt").write_text("a.jpg")
    with pytest.raises(ConfigError, match=r"source.uri: no list \(.parquet.*json\) at .*l.txt"):
        found(job(tmp_path / "l.txt", MaskConfig("alpha")))
    (tmp_path / "l.json").write_text('{"images": []}')
    with pytest.raises(ConfigError, match="no manifest of an S3 Inventory"):
        found(job(tmp_path / "l.json", MaskConfig("alpha")))


def test_rows_that_cannot_be_used_are_failed_samples_with_a_reason(tmp_path):
    keys = [None, "", "../up.jpg", "a/../b.jpg", "a\\b.jpg", "ok.jpg", "ok.jpg", "x" * 5000, "s3://other/a.jpg", "dir/"]
    rows, _ = found(job(write(tmp_path / "l.parquet", {"key": keys}), MaskConfig("alpha")))
    assert faults(rows) == {
        "l.parquet#0": "MissingKey",
        "l.parquet#1": "MissingKey",
        "../up.jpg": "UnusableName",
        "a/../b.jpg": "UnusableName",
        "a\\b.jpg": "UnusableName",
        "ok.jpg#2": "DuplicateKey",
        "l.parquet#7": "UnusableName",
        "other/a.jpg": "ForbiddenUri",
        "dir/": "UnusableName",
    }
    assert len(rows) == len(keys)


def test_names_that_are_not_utf_8_fail_by_themselves(tmp_path):
    path = tmp_path / "l.csv"
    path.write_bytes(b"key\nfine.jpg\ncaf\xe9.jpg\n")
    rows, _ = found(job(path, MaskConfig("alpha")))
    assert faults(rows) == {"l.csv#1": "UnusableName"} and len(rows) == 2


def test_uris_lead_to_the_bucket_of_the_root_and_to_allowed_hosts(tmp_path):
    keys = ["s3://b/photos/1.jpg", "s3://b/elsewhere/2.jpg", "https://cdn.example.com/3.jpg?sig=secret", "4.jpg"]
    path = write(tmp_path / "l.parquet", {"key": [*keys, "https://evil.example.com/5.jpg", "file:///etc/passwd"]})
    config = job(path, MaskConfig("alpha"), root="s3://b/photos", hosts=["https://cdn.example.com"])
    rows, _ = found(config)
    assert {row["sample_id"]: row["file"] for row in rows if not row["fault"]} == {
        "1.jpg": None,
        "b/elsewhere/2.jpg": "s3://b/elsewhere/2.jpg",
        "cdn.example.com/3.jpg": "https://cdn.example.com/3.jpg?sig=secret",
        "4.jpg": None,
    }
    assert faults(rows) == {"evil.example.com/5.jpg": "ForbiddenUri", "etc/passwd": "ForbiddenUri"}


def test_rows_outside_the_pattern_are_counted(tmp_path):
    path = write(tmp_path / "l.parquet", {"key": ["a/1.jpg", "b/2.jpg", "a/3.png", None]})
    rows, left_out = found(job(path, MaskConfig("alpha"), pattern="a/*.jpg"))
    assert [row["sample_id"] for row in rows] == ["a/1.jpg", "l.parquet#3"]
    assert left_out == {"not matching source.pattern": 2}


def test_masks_without_a_column_are_named_by_template_or_path_and_not_listed(tmp_path):
    path = write(tmp_path / "l.parquet", {"key": ["a/1.jpg"]})
    (tmp_path / "masks").mkdir()
    masks = str(tmp_path / "masks")
    by_path, by_template = MaskConfig(uri=masks), MaskConfig(uri=masks, template="{dir}{stem}_m.png")
    assert [found(job(path, mask))[0][0]["mask_key"] for mask in (by_path, by_template)] == ["a/1.jpg", "a/1_m.png"]


def test_null_mask_is_missing(tmp_path):
    rows, _ = found(job(write(tmp_path / "l.csv", {"key": ["1.jpg", "2.jpg"], "mask": ["1.png", ""]})))
    assert [row["mask_key"] for row in rows] == ["1.png", None]
    assert [row["input_version"] for row in rows] == [" mask:", ""]


@pytest.mark.parametrize("name", ["l.parquet", "l.jsonl", "l.csv"])
def test_boxes_of_a_column(tmp_path, name):
    boxes: list[Any] = [[[1, 2, 3, 4]], None]
    if name == "l.csv":
        boxes = ["[[1, 2, 3, 4]]", ""]
    path = write(tmp_path / name, {"key": ["1.jpg", "2.jpg"], "boxes": boxes})
    rows, _ = found(job(path, MaskConfig("boxes", column="boxes")))
    assert json.loads(rows[0]["mask_spec"]) == [{"boxes": [[1, 2, 3, 4]]}]
    assert (rows[1]["mask_spec"], rows[1]["mask_key"]) == (None, None)
    with pytest.raises(ConfigError, match="must hold boxes, as lists or as JSON"):
        path = write(tmp_path / "n.parquet", {"key": ["1.jpg"], "boxes": [7]})
        found(job(path, MaskConfig("boxes", column="boxes")))


def test_keys_that_only_lists_have():
    with pytest.raises(ConfigError, match=r"source.root has no meaning for source.format=images"):
        SourceConfig(root="photos")
    with pytest.raises(ConfigError, match=r"source.columns.size must be the name of a column, got 3"):
        SourceConfig(format="list", uri="l.csv", columns={"size": 3})
    with pytest.raises(ConfigError, match=r"source.columns: a key must be one of size"):
        SourceConfig(format="list", uri="l.csv", columns={"bytes": "size"})
    with pytest.raises(ConfigError, match=r"mask.column needs source.format=list, not images"):
        JobConfig(mask=MaskConfig(column="mask"))
    with pytest.raises(ConfigError, match=r"mask.column and mask.template exclude each other"):
        JobConfig(SourceConfig(format="list", uri="l.csv"), MaskConfig(column="mask", template="{stem}.png"))


# Whole jobs


def listed_photos(folder: Path, **columns: Any) -> JobConfig:
    """The job over four photos, with a list whose table names the masks in its own way."""
    photos = four_photos(folder)
    for index in range(4):
        (folder / f"masks/{index:03}.png").rename(folder / f"masks/matte-{index * 7}.png")
    rows = {"key": [f"{i:03}.png" for i in range(4)], "mask": [f"matte-{i * 7}.png" for i in range(4)], **columns}
    source = SourceConfig(format="list", uri=str(write(folder / "table.csv", rows)), root=photos.source.uri)
    return replace(photos, source=source, mask=MaskConfig(uri=photos.mask.uri, column="mask"))


def rows_of(config: JobConfig) -> list[dict[str, Any]]:
    rows = Manifest(Storage(config.sink.uri, config.storage)).load().to_pylist()
    return sorted(rows, key=lambda row: row["sample_id"])


def test_job_over_a_list_pairs_by_its_column(here, tmp_path):
    config = listed_photos(tmp_path)
    run_here(config)
    rows = rows_of(config)
    assert [row["status"] for row in rows] == ["ok"] * 4, rows
    for index, row in enumerate(rows):
        before, after = (
            np.asarray(Image.open(path)) for path in (tmp_path / f"photos/{index:03}.png", row["output_uri"])
        )
        hole = np.asarray(Image.open(tmp_path / f"masks/matte-{index * 7}.png"))
        assert np.array_equal(after, np.where((hole > 0)[..., None], 255 - before, before))
        assert (row["input_uri"], row["mask_uri"]) == (
            str(tmp_path / f"photos/{index:03}.png"),
            str(tmp_path / f"masks/matte-{index * 7}.png"),
        )


def test_missing_files_and_refused_uris_are_failed_rows(here, tmp_path):
    config = listed_photos(tmp_path, size=[1, 2, 3, 4])
    (tmp_path / "photos/001.png").unlink()
    (tmp_path / "masks/matte-14.png").unlink()
    (tmp_path / "photos/extra.png").write_bytes((tmp_path / "photos/000.png").read_bytes())
    run_here(config)
    failed = [(row["sample_id"], row["error_stage"], row["error_type"]) for row in rows_of(config) if row["error_type"]]
    assert failed == [("001.png", "read", "FileNotFound"), ("002.png", "mask", "FileNotFound")]


def test_plan_says_how_many_samples_have_no_version(here, tmp_path, capsys):
    config = listed_photos(tmp_path, etag=["a", "", "c", "d"], mask_etag=["m", "m", "", "m"])
    arguments = [f"source.uri={config.source.uri}", "source.format=list", f"source.root={config.source.root}"]
    arguments += [f"mask.uri={config.mask.uri}", "mask.column=mask", f"sink.uri={config.sink.uri}"]
    assert plan(["conf/inpaint.yaml", *arguments, "model.weights=untrained"]) == 0
    assert "no version:     2 (the list states no version of image or mask" in capsys.readouterr().out


def reasons(config: JobConfig) -> dict[str, int]:
    with Database() as database:
        find_samples(config, database)
        weights = rows_of(config)[0]["weights_fingerprint"]
        return dict(make_plan(config, database, weights, Manifest(Storage(config.sink.uri))).reasons)


def test_only_known_versions_make_a_sample_a_changed_one(here, tmp_path):
    config = listed_photos(tmp_path, etag=list("abcd"), mask_etag=list("mnop"))
    run_here(config)
    assert reasons(config) == {}
    table = tmp_path / "table.csv"
    rows = pyarrow.csv.read_csv(table)
    for column, values, changed in [
        ("etag", ["a", "", "x", "d"], 1),
        ("mask_etag", ["m", "", "o", "y"], 1),
        ("mask", ["matte-0.png", "", "matte-14.png", "matte-21.png"], 1),
    ]:
        write(table, {name: rows[name] for name in rows.schema.names} | {column: pa.array(values)})
        assert reasons(config) == {"changed": changed}, column


def test_jobs_over_a_list_and_over_a_listing_have_the_same_samples(here, tmp_path):
    photos = four_photos(tmp_path)
    run_here(photos)
    rows = {"key": [f"{index:03}.png" for index in range(4)]}
    source = SourceConfig(format="list", uri=str(write(tmp_path / "l.csv", rows)), root=photos.source.uri)
    assert reasons(replace(photos, source=source)) == {}
