"""Small sources of photos in every format that training streams."""

import io
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.config.mask import MaskConfig
from pipeline.config.source import SourceConfig
from pipeline.training.job import StreamSettings
from tests.conftest import textured

FORMATS = ("images", "webdataset", "parquet")
SHARDS, IN_SHARD = 6, 23  # so that runs, chunks and blocks are cut
SIZE_PX = 64


def png(pixels, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def photo_bytes(number):
    return png(textured(70 + number % 3, 80, seed=number))


def write_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def write_source(folder, kind, shards=SHARDS, in_shard=IN_SHARD, data_of=photo_bytes):
    """Write photos whose content and name are decided by their number."""
    folder.mkdir()
    for shard in range(shards):
        numbers = range(shard * in_shard, (shard + 1) * in_shard)
        if kind == "images":
            for number in numbers:
                (folder / f"{number:04}.png").write_bytes(data_of(number))
        elif kind == "webdataset":
            write_tar(folder / f"{shard:02}.tar", [(f"{number:04}.png", data_of(number)) for number in numbers])
        else:
            table = pa.table({"image": [data_of(number) for number in numbers], "name": [f"{n:04}" for n in numbers]})
            pq.write_table(table, folder / f"{shard:02}.parquet", row_group_size=10)
    return folder


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("sources")
    return {kind: write_source(root / kind, kind) for kind in FORMATS}


@pytest.fixture(scope="session")
def stream_settings(sources):
    def settings(kind, uri=None, **given):
        source = SourceConfig(
            format=kind,
            uri=str(uri or sources[kind]),
            pattern=given.pop("pattern", "**/*"),
            key="name" if kind == "parquet" else None,
        )
        mask = MaskConfig(**given.pop("mask")) if "mask" in given else None
        return StreamSettings(source, mask, SIZE_PX, ("boxes",), **{"shuffle": 50, **given})

    return settings


def pixels_of(sample):
    return np.concatenate([sample.image.ravel(), sample.hole.ravel()])
