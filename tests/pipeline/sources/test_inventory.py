"""Inventories of S3 as AWS lays them out, and lists in buckets."""

import gzip
import io
import json
from typing import Any
from urllib.parse import quote_plus

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.job import JobConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.errors import ConfigError
from pipeline.storage.storage import Storage
from tests.pipeline.flow_here import run_here
from tests.pipeline.scenarios.test_hostile_shards import IMAGE, MASK
from tests.pipeline.sources.test_listed import found, rows_of

CSV_COLUMNS = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass"
PARQUET_SCHEMA = (
    "message s3.inventory {  required binary bucket (STRING);  required binary key (STRING);  optional binary "
    "version_id (STRING);  optional boolean is_latest;  optional boolean is_delete_marker;  optional int64 size;  "
    "optional int64 last_modified_date (TIMESTAMP(MILLIS,true));  optional binary e_tag (STRING);  optional binary "
    "storage_class (STRING);}"
)
FOLDER = "reports/photos-bucket/daily/2026-01-02T01-00Z"
WHEN = "2026-01-01T10:00:00.000Z"


def write_inventory(storage: Storage, kind: str, bucket: str, parts: list[list[dict[str, Any]]]) -> str:
    """Write an inventory below the root of a storage; return the key of its manifest."""
    files = []
    for number, rows in enumerate(parts):
        key = f"reports/photos-bucket/daily/data/part-{number}.{'csv.gz' if kind == 'CSV' else 'parquet'}"
        storage.write(key, _csv(bucket, rows) if kind == "CSV" else _parquet(bucket, rows))
        files.append({"key": key, "size": 1, "MD5checksum": "0"})
    manifest = {
        "sourceBucket": bucket,
        "destinationBucket": "arn:aws:s3:::reports-bucket",
        "version": "2016-11-30",
        "creationTimestamp": "1767315600000",
        "fileFormat": kind,
        "fileSchema": CSV_COLUMNS if kind == "CSV" else PARQUET_SCHEMA,
        "files": files,
    }
    storage.write(f"{FOLDER}/manifest.json", json.dumps(manifest).encode())
    return f"{FOLDER}/manifest.json"


def _csv(bucket: str, rows: list[dict[str, Any]]) -> bytes:
    lines = (
        (bucket, quote_plus(row["key"], safe="/"), "v", str(row["latest"]).lower(), str(row["deleted"]).lower(),
         row["size"], WHEN, row["etag"], "STANDARD")
        for row in rows
    )  # fmt: skip
    return gzip.compress("".join(",".join(f'"{value}"' for value in line) + "\n" for line in lines).encode())


def _parquet(bucket: str, rows: list[dict[str, Any]]) -> bytes:
    table = pa.table(
        {
            "bucket": [bucket] * len(rows),
            "key": [row["key"] for row in rows],
            "version_id": ["v"] * len(rows),
            "is_latest": [row["latest"] for row in rows],
            "is_delete_marker": [row["deleted"] for row in rows],
            "size": [row["size"] for row in rows],
            "last_modified_date": pa.array([0] * len(rows), pa.timestamp("ms", "UTC")),
            "e_tag": [row["etag"] for row in rows],
        }
    )
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def item(key: str, latest: bool = True, deleted: bool = False, etag: str = "0123", size: int = 5) -> dict[str, Any]:
    return {"key": key, "latest": latest, "deleted": deleted, "etag": etag, "size": size}


PARTS = [
    [item("photos/a b+c.jpg", etag="1"), item("photos/é.PNG"), item("other/x.jpg"), item("photos/notes.txt")],
    [
        item("photos/old.jpg", latest=False, etag="2"),
        item("photos/gone.jpg", deleted=True),
        item("photos/.thumbs/a.jpg"),
        item("photos/results/data/a.jpg"),
        item("photos/deep//z.jpg"),
    ],
]


@pytest.mark.parametrize("kind", ["CSV", "Parquet"])
def test_current_images_below_the_root_are_samples_and_all_others_are_counted(tmp_path, s3_server, kind):
    fsspec.filesystem("s3", **s3_server).makedirs("photos-bucket", exist_ok=True)
    manifest = write_inventory(Storage(str(tmp_path)), kind, "photos-bucket", PARTS)
    config = JobConfig(
        source=SourceConfig(format="list", uri=str(tmp_path / manifest), root="s3://photos-bucket/photos"),
        mask=MaskConfig("alpha"),
        sink=SinkConfig("s3://photos-bucket/photos/results"),
        storage=s3_server,
    )
    rows, left_out = found(config)
    assert [(row["sample_id"], row["input_version"], row["size_bytes"]) for row in rows] == [
        ("a b+c.jpg", "1", 5),
        ("deep//z.jpg", "0123", 5),
        ("é.PNG", "0123", 5),
    ]
    assert left_out == {"older versions": 1, "delete markers": 1, "outside source.root": 1, ".txt": 1, "hidden": 1}


def test_inventory_that_cannot_be_used_says_why(tmp_path):
    storage = Storage(str(tmp_path))

    def config(**source: Any) -> JobConfig:
        source = SourceConfig(format="list", uri=str(tmp_path / f"{FOLDER}/manifest.json"), **source)
        return JobConfig(source=source, mask=MaskConfig("alpha"), sink=SinkConfig(str(tmp_path / "out")))

    manifest = write_inventory(storage, "CSV", "photos-bucket", PARTS)
    with pytest.raises(ConfigError, match=r"source.root must be set: .* bucket photos-bucket.*s3://photos-bucket"):
        found(config())
    stated = json.loads(storage.read(manifest))
    for change, message in [
        ({"fileFormat": "ORC"}, "names files of orc: let the inventory be written as CSV or Parquet"),
        ({"files": []}, "the inventory is empty"),
        ({"files": [{"key": "lost.csv.gz"}]}, "names lost.csv.gz, which is in no folder above it"),
        ({"fileSchema": "Bucket, Size"}, "fileSchema without a column Key"),
    ]:
        storage.write(manifest, json.dumps(stated | change).encode())
        with pytest.raises(ConfigError, match=message):
            found(config(root="s3://photos-bucket"))


# On a real S3 server


@pytest.fixture
def bucket(tmp_path, s3_server) -> tuple[str, Storage]:
    root = f"s3://bucket/{tmp_path.name}"
    storage = Storage(root, s3_server)
    for index in range(4):
        storage.write(f"photos/{index}.png", IMAGE)
        storage.write(f"mattes/m-{index * 7}.png", MASK)
    return root, storage


def listed(folder: str, s3_server: dict[str, Any], uri: str, mask: MaskConfig, root: str) -> JobConfig:
    source = SourceConfig(format="list", uri=f"{folder}/{uri}", root=root)
    return JobConfig(source, mask, sink=SinkConfig(f"{folder}/out"), storage=s3_server)


@pytest.mark.parametrize("form", ["relative", "uris"])
def test_job_over_a_list_in_a_bucket_reads_what_the_list_states(here, bucket, s3_server, form):
    root, storage = bucket
    prefix = "" if form == "relative" else f"{root}/"
    photos = [storage.stat(f"photos/{index}.png") for index in range(4)]
    masks = [storage.stat(f"mattes/m-{index * 7}.png") for index in range(4)]
    columns = {
        "key": [f"{prefix}{photo.key}" for photo in photos],
        "size": [photo.size_bytes for photo in photos],
        "etag": [photo.version for photo in photos[:3]] + ["another"],
        "mask": [f"{prefix}{mask.key}" for mask in masks],
        "mask_size": [mask.size_bytes for mask in masks],
        "mask_etag": [mask.version for mask in masks],
    }
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    storage.write("lists/a.parquet", file.getvalue())
    config = listed(root, s3_server, "lists", MaskConfig(uri=root, column="mask"), root=root)
    run_here(config)
    rows = rows_of(config)
    assert [row["status"] for row in rows] == ["ok"] * 3 + ["failed"], [row["error_message"] for row in rows]
    assert rows[3]["error_type"] == "FileChanged"
    assert [row["mask_uri"] for row in rows] == [f"{root}/{mask.key}" for mask in masks]
    assert [row["sample_id"] for row in rows] == [photo.key for photo in photos]


@pytest.mark.parametrize("kind", ["CSV", "Parquet"])
def test_job_over_an_inventory_of_a_bucket(here, bucket, s3_server, kind):
    root, storage = bucket
    prefix = root.removeprefix("s3://bucket/")
    files = [storage.stat(f"photos/{index}.png") for index in range(4)]
    rows = [item(f"{prefix}/{file.key}", etag=file.version, size=file.size_bytes) for file in files]
    manifest = write_inventory(storage, kind, "bucket", [rows])
    boxes = "".join(f'{{"sample_id": "{index}.png", "boxes": [[2, 2, 9, 9]]}}\n' for index in range(4))
    storage.write("boxes.jsonl", boxes.encode())
    mask = MaskConfig("boxes", uri=f"{root}/boxes.jsonl")
    config = listed(root, s3_server, manifest, mask, root=f"{root}/photos")
    run_here(config)
    assert [(row["sample_id"], row["status"]) for row in rows_of(config)] == [(f"{i}.png", "ok") for i in range(4)]
