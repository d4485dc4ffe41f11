"""The whole flow on a real Ray cluster with a tiny model."""

import hashlib
import io
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.config.job import JobConfig, LimitsConfig, MaskConfig, ModelConfig, SinkConfig, SourceConfig
from pipeline.executor.base import Executor
from pipeline.records import FAILED, MANIFEST_SCHEMA, OK, UNCHANGED
from pipeline.run import run_job
from pipeline.sinks.results import read_result
from pipeline.storage.storage import Storage
from tests.conftest import make_photos, textured
from tests.pipeline.scenarios.test_hostile_shards import tar

pytestmark = pytest.mark.usefixtures("ray_cluster")


def job(folder: Path, weights: Path, **mask) -> JobConfig:
    return JobConfig(
        source=SourceConfig(uri=str(folder / "photos")),
        mask=MaskConfig(uri=str(folder / "masks"), **mask),
        model=ModelConfig(weights=str(weights), steps=2),
        sink=SinkConfig(uri=str(folder / "out")),
        limits=LimitsConfig(max_pixels=1_000_000),
    )


def run(config: JobConfig, run_id: str = "run", executor: Executor | None = None) -> dict[str, dict]:
    """Run a job and return the manifest as any Parquet reader sees it, by sample."""
    run_job(config, run_id, lambda rows, total: None, executor)
    table = pq.read_table(f"{config.sink.uri}/manifest")
    assert table.schema.remove_metadata().equals(MANIFEST_SCHEMA)
    rows = {row["sample_id"]: row for row in table.to_pylist()}
    assert len(rows) == table.num_rows
    return rows


def pixels(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_job_repaints_every_photo_and_nothing_outside_its_mask(tmp_path, tiny_weights):
    photos, masks = make_photos(tmp_path, count=5)
    (photos / "deep").mkdir()
    shutil.copy(photos / "000.png", photos / "deep" / "ü b.png")
    shutil.copytree(masks, masks / "deep")
    shutil.copy(masks / "000.png", masks / "deep" / "ü b.png")
    config = job(tmp_path, tiny_weights)
    rows = run(config, "first")
    assert sorted(rows) == ["000.png", "001.png", "002.png", "003.png", "004.png", "deep/ü b.png"]
    for name, row in rows.items():
        assert row["status"] == OK, row["error_message"]
        before, after, mask = pixels(row["input_uri"]), pixels(row["output_uri"]), pixels(row["mask_uri"]) > 0
        assert row["output_uri"] == f"{config.sink.uri}/data/{name}"
        assert np.array_equal(after[~mask], before[~mask])
        assert not np.array_equal(after[mask], before[mask])
        data = Path(row["output_uri"]).read_bytes()
        assert row["output_bytes"] == len(data)
        assert row["output_sha256"] == hashlib.sha256(data).hexdigest()
        assert row["outside_max_diff"] == 0
        assert (row["width"], row["height"]) == (96, 80)
        assert row["mask_fraction"] == pytest.approx(mask.mean())
        assert row["window_count"] == 1
        assert row["run_id"] == "first"
        assert row["config_fingerprint"] == config.fingerprint
        assert not row["weights_fingerprint"].startswith("untrained-")
        assert min(row["decode_s"], row["inpaint_s"], row["encode_s"]) > 0
    found = {path for path in (tmp_path / "out" / "data").rglob("*") if path.is_file()}
    assert found == {Path(row["output_uri"]) for row in rows.values()}


def write_bad_corpus(folder: Path) -> dict[str, tuple[str, str | None, str | None]]:
    """Photos of every kind of trouble beside good ones; returns status, stage and kind that each must end with."""
    photos, masks = make_photos(folder, count=3)
    picture = Image.fromarray(textured(80, 96))

    def add(name: str, data: bytes | Image.Image, mask_of: str | None = "000.png", **options) -> None:
        if isinstance(data, Image.Image):
            data.save(photos / name, **options)
        else:
            (photos / name).write_bytes(data)
        if mask_of:
            shutil.copy(masks / mask_of, masks / f"{Path(name).stem}.png")

    exif = Image.Exif()
    exif[0x0112] = 6
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG")
    add("truncated.jpg", jpeg.getvalue()[:-500])
    add("text.png", b"this is no picture")
    add("empty.png", b"")
    add("lonely.png", picture, mask_of=None)
    add("other-size.png", picture.resize((50, 50)))
    add("cmyk.jpg", picture.convert("CMYK"))
    add("sixteen.png", Image.fromarray((np.arange(80 * 96, dtype=np.uint16) * 8).reshape(80, 96)))
    add("palette.png", picture.quantize(32), transparency=5)
    add("rotated.jpg", picture, exif=exif)
    add("huge.png", Image.new("1", (2000, 2000)))
    add("pixel.png", picture.resize((1, 1)), mask_of=None)
    Image.new("L", (1, 1), 255).save(masks / "pixel.png")
    add("unmasked.jpg", picture, mask_of=None)
    Image.new("L", (96, 80), 0).save(masks / "unmasked.png")
    add("masked.gif", picture.quantize(32))
    add("unmasked.gif", picture.quantize(32), mask_of=None)
    add("broken-mask.jpg", picture, mask_of=None)
    (masks / "broken-mask.png").write_bytes(b"no mask")
    return {
        "000.png": (OK, None, None),
        "001.png": (OK, None, None),
        "002.png": (OK, None, None),
        "truncated.jpg": (FAILED, "decode", "TruncatedImage"),
        "text.png": (FAILED, "decode", "UnreadableImage"),
        "empty.png": (FAILED, "decode", "UnreadableImage"),
        "lonely.png": (FAILED, "mask", "MissingMask"),
        "other-size.png": (FAILED, "mask", "MaskSizeMismatch"),
        "cmyk.jpg": (OK, None, None),
        "sixteen.png": (OK, None, None),
        "palette.png": (OK, None, None),
        "rotated.jpg": (OK, None, None),
        "huge.png": (FAILED, "decode", "TooManyPixels"),
        "pixel.png": (OK, None, None),
        "unmasked.jpg": (UNCHANGED, None, None),
        "masked.gif": (FAILED, "encode", "UnsupportedMode"),
        "unmasked.gif": (UNCHANGED, None, None),
        "broken-mask.jpg": (FAILED, "mask", "UnreadableImage"),
    }


def test_bad_samples_are_single_failed_rows_and_touch_nothing_else(tmp_path, tiny_weights):
    expected = write_bad_corpus(tmp_path)
    rows = run(job(tmp_path, tiny_weights, max_fraction=1.0))
    found = {name: (row["status"], row["error_stage"], row["error_type"]) for name, row in rows.items()}
    assert found == expected
    for row in rows.values():
        if row["status"] == FAILED:
            assert row["output_uri"] is None and len(row["error_message"]) > 10
            assert not (tmp_path / "out" / "data" / row["sample_id"]).exists()
        else:
            assert row["error_message"] is None
            assert Image.open(row["output_uri"]).size == (row["width"], row["height"])
    assert Path(rows["unmasked.jpg"]["output_uri"]).read_bytes() == (tmp_path / "photos" / "unmasked.jpg").read_bytes()
    assert Image.open(rows["rotated.jpg"]["output_uri"]).getexif()[0x0112] == 6


def test_job_from_shards_to_shards(tmp_path, tiny_weights):
    photos, masks = make_photos(tmp_path, count=5)
    (tmp_path / "shards").mkdir()
    members = [
        (f"{path.stem}.{kind}", path.read_bytes())
        for index in range(5)
        for kind, path in (("png", photos / f"{index:03}.png"), ("mask.png", masks / f"{index:03}.png"))
    ]
    (tmp_path / "shards" / "a.tar").write_bytes(tar(members))
    config = replace(
        job(tmp_path, tiny_weights),
        source=SourceConfig(format="webdataset", uri=str(tmp_path / "shards")),
        mask=MaskConfig(kind="member"),
        sink=SinkConfig(uri=str(tmp_path / "out"), format="parquet", shard_samples=2),
    )
    rows = run(config)
    assert sorted(rows) == [f"a.tar/{index:03}" for index in range(5)]
    for index, (_, row) in enumerate(sorted(rows.items())):
        before, after = pixels(photos / f"{index:03}.png"), np.asarray(Image.open(io.BytesIO(read_result(row, {}))))
        mask = pixels(masks / f"{index:03}.png") > 0
        assert np.array_equal(after[~mask], before[~mask])
        assert row["status"] == OK
    shards = Counter(row["output_uri"] for row in rows.values())
    assert {Path(uri): count for uri, count in shards.items()} == {
        path: pq.read_metadata(path).num_rows for path in (tmp_path / "out" / "data").iterdir()
    }


def test_job_from_s3_to_s3(tmp_path, tiny_weights, s3_server):
    photos, masks = make_photos(tmp_path, count=4)
    root = f"s3://bucket/{tmp_path.name}"
    storage = Storage(root, s3_server)
    for folder in (photos, masks, tiny_weights):
        for path in folder.rglob("*"):
            if path.is_file():
                storage.write(f"{folder.name}/{path.relative_to(folder)}", path.read_bytes())
    config = JobConfig(
        source=SourceConfig(uri=f"{root}/photos"),
        mask=MaskConfig(uri=f"{root}/masks"),
        model=ModelConfig(weights=f"{root}/{tiny_weights.name}", steps=2),
        sink=SinkConfig(uri=f"{root}/out"),
        storage=s3_server,
    )
    run_job(config, "run", lambda rows, total: None)
    keys = sorted(file.key for file in storage.list_files("out"))
    assert [key for key in keys if "/data/" in key] == [f"out/data/{index:03}.png" for index in range(4)]
    parts = [pq.read_table(pa.BufferReader(storage.read(key))) for key in keys if "/manifest/" in key]
    rows = pa.concat_tables(parts).to_pylist()
    assert sorted(row["sample_id"] for row in rows) == [f"{index:03}.png" for index in range(4)]
    for row in rows:
        assert row["status"] == OK, row["error_message"]
        assert row["output_uri"] == f"{root}/out/data/{row['sample_id']}"
        before = np.asarray(Image.open(photos / row["sample_id"]))
        after = np.asarray(Image.open(io.BytesIO(storage.read(f"out/data/{row['sample_id']}"))))
        mask = pixels(masks / row["sample_id"]) > 0
        assert np.array_equal(after[~mask], before[~mask])
    for file in storage.list_files("out"):
        assert s3_server["secret"].encode() not in storage.read(file.key)
