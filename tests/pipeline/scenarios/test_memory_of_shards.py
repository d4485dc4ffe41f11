"""Small Parquet and tar files that expand to large ones: memory stays bounded, and other samples come through."""

import gzip
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.sources.parquet.headers import BrokenPageError, read_header
from tests.conftest import ROOT

MAX_BYTES = 8_000_000
LARGE = 200_000_000  # bytes of zeros, in a row or a header
ALLOWED_MB = 160  # SMALL_PAGE_BYTES twice, and rows
PHOTO = os.urandom(3000)
READ = """
import json, os, resource, sys
from pipeline.config.job import JobConfig, LimitsConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.sources.reader import Reader, open_source

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

settings = json.loads(sys.argv[1])
config = JobConfig(
    source=SourceConfig(**settings["source"]),
    mask=MaskConfig(**settings["mask"]),
    sink=SinkConfig(format="parquet"),
    limits=LimitsConfig(max_bytes=settings["max_bytes"]),
)
reader = Reader(config)
source = open_source(config, reader.source)
before, results = peak_mb(), []
samples = [
    dict(found._asdict(), input_version=found.version, mask_key="", mask_spec=None, mask_review=None)
    for found in source.samples(source.files())
]
for inputs in reader.read_all(samples[:100]):
    results.append(inputs.kind if isinstance(inputs, Exception) else len(inputs.image))
print(json.dumps({"results": results, "count": len(samples), "grown_mb": peak_mb() - before}), flush=True)
os._exit(0)  # Arrow's threads may abort an interpreter that ends while they do
"""


def read(folder: Path, mask: dict | None = None, **source: str) -> dict:
    """What the samples of a file are read as, in a process of its own, whose memory grows by few megabytes."""
    settings = {"source": {"uri": str(folder), **source}, "mask": mask or {"kind": "alpha"}, "max_bytes": MAX_BYTES}
    done = subprocess.run(
        [sys.executable, "-c", READ, json.dumps(settings)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["grown_mb"] < ALLOWED_MB, found
    return found


def write(folder: Path, images: list | pa.Array, **settings: object) -> None:
    pq.write_table(pa.table({"image": images}), folder / "x.parquet", **{"compression": "zstd", **settings})
    assert (folder / "x.parquet").stat().st_size < 200_000


@pytest.mark.parametrize("codec", ["zstd", "snappy", "none"])
def test_row_above_the_limit_fails_and_its_neighbours_come_through(tmp_path, codec):
    images = [PHOTO, bytes(30_000_000), PHOTO]  # whose average is above the limit, too
    pq.write_table(pa.table({"image": images}), tmp_path / "x.parquet", compression=codec)
    assert read(tmp_path, format="parquet")["results"] == [3000, "TooManyBytes", 3000]


PICTURE_VIEWS = pa.struct([("bytes", pa.binary_view()), ("path", pa.string_view())])


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.struct([("bytes", pa.binary()), ("path", pa.string())]), pa.binary_view(), PICTURE_VIEWS]
)
def test_rows_that_share_one_large_value_are_read_one_by_one(tmp_path, kind):
    value = {"bytes": bytes(7_000_000), "path": "x"} if pa.types.is_struct(kind) else bytes(7_000_000)
    write(tmp_path, pa.array([value] * 40, kind))
    assert read(tmp_path, format="parquet")["results"] == [7_000_000] * 40


def test_dictionary_of_several_large_values_is_no_row_above_the_limit(tmp_path):
    indices = pa.array([0, 1, 2, 1, 0], pa.int32())
    write(tmp_path, pa.DictionaryArray.from_arrays(indices, [bytes([number]) * 7_000_000 for number in range(3)]))
    assert read(tmp_path, format="parquet")["results"] == [7_000_000] * 5


@pytest.mark.parametrize("name", ["image", "image.bytes"])
@pytest.mark.parametrize("kind", [pa.binary_view(), pa.dictionary(pa.int32(), pa.binary())])
def test_large_page_of_any_encoding_and_name_is_refused(tmp_path, kind, name):
    images = pa.array([PHOTO, bytes(LARGE)]).cast(pa.binary_view()) if kind == pa.binary_view() else None
    images = pa.array([PHOTO, bytes(LARGE)]).dictionary_encode() if images is None else images
    pq.write_table(pa.table({name: images}), tmp_path / "x.parquet", compression="zstd")
    assert set(read(tmp_path, format="parquet", image=name)["results"]) == {"TooManyBytes"}


def test_large_page_is_refused_before_it_is_decompressed_and_other_row_groups_are_read(tmp_path):
    write(tmp_path, [PHOTO, PHOTO, PHOTO, bytes(LARGE), PHOTO], row_group_size=2, use_dictionary=False)
    refused = ["TooManyBytes"] * 2
    assert read(tmp_path, format="parquet")["results"] == [3000, 3000, *refused, 3000]


def test_footer_that_lies_about_the_size_of_a_page_changes_nothing(tmp_path):
    write(tmp_path, [bytes(LARGE), PHOTO], use_dictionary=False)
    column = pq.read_metadata(tmp_path / "x.parquet").row_group(0).column(0)
    data = (tmp_path / "x.parquet").read_bytes()
    said = varint(column.total_uncompressed_size)
    assert data.count(said) == 2  # of the column and of its row group
    (tmp_path / "x.parquet").write_bytes(data.replace(said, varint(1 << 27 | 1000)))
    assert pq.read_metadata(tmp_path / "x.parquet").row_group(0).column(0).total_uncompressed_size < LARGE
    assert read(tmp_path, format="parquet")["results"] == ["TooManyBytes"] * 2


def varint(value: int) -> bytes:
    """A positive number in Thrift's compact protocol."""
    value, out = value << 1, b""
    while value > 127:
        value, out = value >> 7, out + bytes([value & 127 | 128])
    return out + bytes([value])


def test_row_of_many_boxes_is_refused(tmp_path):
    box = pa.FixedSizeListArray.from_arrays(pa.nulls(4 * 5_000_001, pa.int8()), 4)
    boxes = pa.ListArray.from_arrays([0, 1, len(box)], box)
    pq.write_table(pa.table({"image": [PHOTO] * 2, "boxes": boxes}), tmp_path / "x.parquet", compression="zstd")
    found = read(tmp_path, {"kind": "boxes", "column": "boxes"}, format="parquet")
    assert found["results"][1] == "TooManyBytes"


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()])
def test_long_keys_are_refused(tmp_path, kind):
    images = pa.array([os.urandom(20) for _ in range(30_000)])
    keys = pa.DictionaryArray.from_arrays(pa.array([0] * 29_999 + [1], pa.int32()), ["k" * 30_000_000, "good"])
    keys = keys.cast(pa.dictionary(pa.int32(), kind))
    pq.write_table(pa.table({"image": images, "key": keys}), tmp_path / "x.parquet", compression="zstd")
    found = read(tmp_path, format="parquet", key="key")
    assert (found["count"], set(found["results"])) == (30_000, {"UnusableName"})


def test_footer_with_more_rows_than_bytes_is_broken(tmp_path):
    pq.write_table(pa.table({"image": pa.nulls(10_000_000, pa.binary())}), tmp_path / "x.parquet")
    assert read(tmp_path, format="parquet")["results"] == ["BrokenShard"]


def test_damaged_key_column_is_a_broken_shard(tmp_path):
    columns = {"image": [PHOTO] * 3, "key": ["a", "b", "c"]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet", compression="none", use_dictionary=False)
    column = pq.read_metadata(tmp_path / "x.parquet").row_group(0).column(1)
    data = bytearray((tmp_path / "x.parquet").read_bytes())
    data[column.data_page_offset : column.data_page_offset + 4] = b"\xff" * 4
    (tmp_path / "x.parquet").write_bytes(data)
    assert read(tmp_path, format="parquet", key="key")["results"] == ["BrokenShard"]


@pytest.mark.parametrize(
    "header",
    [
        b"\x15\x00\x15" + b"\xff" * 9 + b"\x01",  # more than 32 bits
        b"\x15\x00\x15" + b"\x80" * 20,  # a number without end
        b"\x15\x00\x19\x00",  # a list
        b"\x15\x00\x15\x01\x15\x02\x00",  # a size below zero
        b"\x15\x00\x00",  # no size
    ],
)
def test_header_that_cannot_be_one_is_refused(header):
    with pytest.raises(BrokenPageError):
        read_header(header)


def gzipped(folder: Path, parts: list[bytes | int]) -> None:
    """A compressed shard, of bytes and of so many zeros."""
    with gzip.open(folder / "x.tar.gz", "wb", 1) as file:
        for part in parts:
            file.write(part if isinstance(part, bytes) else bytes(part))


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf()


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_extended_header_of_a_shard_has_a_limit(tmp_path, kind):
    photos = [header(f"{name}.png", 512) + PHOTO[:512] for name in "abc"]
    gzipped(tmp_path, [*photos[:2], header("x", LARGE, kind), LARGE, photos[2], 1024])
    assert read(tmp_path, format="webdataset")["results"] == [512, 512, "BrokenShard"]


def test_headers_upon_headers_are_a_broken_shard(tmp_path):
    name = header("././@LongLink", 5, tarfile.GNUTYPE_LONGNAME) + b"abcd".ljust(512, b"\0")
    photos = [header(f"{name}.png", 512) + PHOTO[:512] for name in "ab"]
    (tmp_path / "x.tar").write_bytes(b"".join(photos) + name * 3000)
    assert read(tmp_path, format="webdataset")["results"] == [512, 512, "BrokenShard"]


def test_member_between_image_and_mask_is_not_read(tmp_path):
    size = LARGE // 512 * 512
    members = [header("a.png", 512) + PHOTO[:512], header("a.bin", size), size, header("a.mask.png", 512) + PHOTO[:512]]
    gzipped(tmp_path, [*members, 1024])
    assert read(tmp_path, {"kind": "member"}, format="webdataset")["results"] == [512]
