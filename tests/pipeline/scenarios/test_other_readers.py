"""What we write, others read: WebDataset, Hugging Face's datasets, pyarrow, and Ray's own readers."""

import io

import numpy as np
import pyarrow.dataset
import pytest
import ray
from PIL import Image

from pipeline.config.job import JobConfig, MaskConfig, SinkConfig, SourceConfig
from tests.conftest import make_photos
from tests.pipeline.flow_here import run_here

COUNT = 5


@pytest.fixture
def sink(here, tmp_path):
    photos, _ = make_photos(tmp_path, COUNT)

    def make(form: str) -> str:
        config = JobConfig(
            source=SourceConfig(uri=str(photos)),
            mask=MaskConfig(uri=str(tmp_path / "masks")),
            sink=SinkConfig(uri=str(tmp_path / form), format=form, shard_samples=3),
        )
        run_here(config)
        return f"{config.sink.uri}/data"

    return make


NAMES = [f"{index:03}.png" for index in range(COUNT)]


def test_webdataset_reads_our_shards(sink, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    folder = sink("webdataset")
    shards = [str(path) for path in sorted((tmp_path / "webdataset" / "data").iterdir())]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8"))
    assert folder and sorted(sample["json"]["sample_id"] for sample in samples) == NAMES
    assert {sample["png"].shape for sample in samples} == {(80, 96, 3)}


def test_datasets_reads_our_parquet_files_as_images(sink, tmp_path):
    datasets = pytest.importorskip("datasets")
    files = [str(path) for path in (tmp_path / "parquet" / "data").iterdir()] if sink("parquet") else []
    found = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert sorted(found["sample_id"]) == NAMES
    assert {image.size for image in found["image"]} == {(96, 80)}


def test_datasets_reads_our_shards(sink, tmp_path):
    datasets = pytest.importorskip("datasets")
    files = [str(path) for path in (tmp_path / "webdataset" / "data").iterdir()] if sink("webdataset") else []
    found = datasets.load_dataset("webdataset", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert {image.size for image in found["png"]} == {(96, 80)} and len(found) == COUNT


def test_pyarrow_reads_our_parquet_files_as_one_table(sink):
    table = pyarrow.dataset.dataset(sink("parquet")).to_table()
    assert sorted(table["sample_id"].to_pylist()) == NAMES
    assert table.schema.names == ["sample_id", "image", "width", "height"]


@pytest.mark.usefixtures("ray_cluster")
def test_ray_reads_both(sink):
    rows = ray.data.read_parquet(sink("parquet")).take_all()
    assert sorted(row["sample_id"] for row in rows) == NAMES
    assert np.asarray(Image.open(io.BytesIO(rows[0]["image"]["bytes"]))).shape == (80, 96, 3)
    rows = ray.data.read_webdataset(sink("webdataset")).take_all()
    assert sorted(row["json"]["sample_id"] for row in rows) == NAMES
