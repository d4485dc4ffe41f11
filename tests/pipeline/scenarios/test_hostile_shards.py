"""Tar shards and Parquet files that are broken or hostile: each sample has its row, and none leaves the sink."""

import gzip
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import pipeline.run
import pipeline.sources.tar.source
from pipeline.config.job import JobConfig, LimitsConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.errors import ConfigError
from pipeline.executor.base import Executor
from pipeline.records import FAILED, OK
from pipeline.sources.tar.source import TarShards
from pipeline.sources.tar.streams import ForwardFile
from pipeline.sources.wanted import wanted_by
from pipeline.storage.storage import Storage
from tests.conftest import textured
from tests.pipeline.flow_here import HERE, run_here

Members = list[tuple[bytes | str, bytes | None]]


def png(seed: int = 0, mask: bool = False) -> bytes:
    buffer = io.BytesIO()
    picture = Image.new("L", (24, 16)) if mask else Image.fromarray(textured(16, 24, seed))
    if mask:
        picture.paste(255, (4, 4, 12, 10))
    picture.save(buffer, "PNG")
    return buffer.getvalue()


IMAGE, MASK = png(), png(mask=True)
GOOD: Members = [("good.png", IMAGE), ("good.mask.png", MASK)]


def tar(members: Members, compress: bool = False) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if compress else "w", errors="surrogateescape") as file:
        for name, data in members:
            header = tarfile.TarInfo(name if isinstance(name, str) else name.decode("utf-8", "surrogateescape"))
            if data is None:
                header.type, header.linkname = tarfile.SYMTYPE, "/etc/passwd"
            header.size = len(data or b"")
            file.addfile(header, io.BytesIO(data or b""))
    return buffer.getvalue()


def pair(name: str) -> Members:
    return [(f"{name}.png", IMAGE), (f"{name}.mask.png", MASK)]


def of_negative_size(data: bytes, name: str) -> bytes:
    """A tar file with the header of one member forged, so that the next header would be that one again."""
    forged, at = bytearray(data), data.index(name.encode())
    forged[at + 124 : at + 136] = (-512).to_bytes(12, "big", signed=True)
    forged[at + 148 : at + 156] = b" " * 8
    forged[at + 148 : at + 156] = b"%06o\0 " % sum(forged[at : at + 512])
    return bytes(forged)


TARS = {
    "empty file": (b"", {"x.tar": "BrokenShard"}),
    "no tar": (b"GIF89a" * 1000, {"x.tar": "BrokenShard"}),
    "no sample": (tar([]), {}),
    "cut in the data of the second sample": (
        tar([*GOOD, ("b.png", IMAGE * 30)])[: 512 * 12],
        {"x.tar/good": None, "x.tar": "BrokenShard"},
    ),
    "garbage behind the first sample": (
        tar(GOOD).rstrip(b"\0") + b"\0" * 200 + b"garbage!" * 1000,
        {"x.tar/good": None, "x.tar": "BrokenShard"},
    ),
    "the same key twice": (tar([*GOOD, *pair("b"), *GOOD]), {"x.tar/good#2": "DuplicateKey", "x.tar/b": None}),
    "the same key twice in a row": (tar([*GOOD, *GOOD]), {"x.tar/good": None, "x.tar/good#2": "DuplicateKey"}),
    "the name of a repeated key": (
        tar([*GOOD, *pair("good#2"), *pair("b"), *GOOD]),
        {"x.tar/good": None, "x.tar/good#2": None, "x.tar/good##2": "DuplicateKey"},
    ),
    "two ways to one place": (
        tar([*pair("./a"), *pair("a"), *pair("b/./c"), *pair("./d")]),
        {"x.tar/./a": None, "x.tar/a#2": "DuplicateKey", "x.tar/b/./c": None, "x.tar/./d": None},
    ),
    "a name that climbs": (tar(pair("../../up")), {"x.tar/../../up": "UnusableName"}),
    "an absolute name": (tar(pair("/etc/cron.d/job")), {"x.tar//etc/cron.d/job": "UnusableName"}),
    "a backslash": (tar(pair("a\\b")), {"x.tar/a\\b": "UnusableName"}),
    "not UTF-8": (tar([(b"caf\xe9.png", IMAGE)]), {"x.tar/caf\\xe9": "UnusableName"}),
    "not UTF-8 behind the dot": (
        tar([*GOOD, (b"a.caf\xe9", b"text")]),
        {"x.tar/good": None, "x.tar/a": "MissingImage"},
    ),
    "a size below zero": (
        of_negative_size(tar([*GOOD, *pair("b")]), "b.png"),
        {"x.tar": "BrokenShard"},
    ),
    "a very long name": (tar(pair("n" * 240)), {"x.tar/" + "n" * 240: None}),
    "a name too long for disks": (tar(pair("n" * 400)), {"x.tar/" + "n" * 400: "UnusableName"}),
    "no image": (tar([("a.txt", b"text"), ("a.json", b"{}")]), {"x.tar/a": "MissingImage"}),
    "no mask": (tar([("a.png", IMAGE)]), {"x.tar/a": "MissingMask"}),
    "an empty image": (tar([("a.png", b""), ("a.mask.png", MASK)]), {"x.tar/a": "UnreadableImage"}),
    "an empty mask": (tar([("a.png", IMAGE), ("a.mask.png", b"")]), {"x.tar/a": "UnreadableImage"}),
    "a link out of the shard": (tar([("a.png", None), *GOOD]), {"x.tar/a": "BrokenLink", "x.tar/good": None}),
    "a link of no concern": (tar([("a.txt", None), ("b", None), *GOOD]), {"x.tar/good": None}),
    "hidden files": (tar([("._good.png", b"x"), *GOOD, (".DS_Store", b"x")]), {"x.tar/good": None}),
    "no extension": (tar([("noext", IMAGE)]), {"x.tar/noext": "MissingImage"}),
    "capitals": (tar([("a.PNG", IMAGE), ("a.MASK.png", MASK)]), {"x.tar/a": None}),
    "dots in a folder": (tar(pair("v1.2/a")), {"x.tar/v1.2/a": None}),
}
ZIPPED = {
    "no gzip": (tar(GOOD), {"x.tar.gz": "BrokenShard"}),
    "cut": (tar([*GOOD, *pair("b")], compress=True)[:-60], {"x.tar.gz": "BrokenShard"}),
    "wrong checksum": (
        tar(GOOD, compress=True)[:-8] + b"\0" * 8,
        {"x.tar.gz/good": None, "x.tar.gz": "BrokenShard"},
    ),
    "a bomb": (tar([*GOOD, ("zeros.png", bytes(3 << 20))], compress=True), {"x.tar.gz": "BrokenShard"}),
}


def config(folder: Path, source: SourceConfig, mask: MaskConfig, sink: str = "images") -> JobConfig:
    return JobConfig(source=source, mask=mask, sink=SinkConfig(uri=str(folder / "out"), format=sink))


def run(job: JobConfig, executor: Executor = HERE) -> dict[str, str | None]:
    """Error types of all rows, ``None`` for a good one; and nothing lies where it should not."""
    run_here(job, executor=executor)
    folder = Path(job.sink.uri).parent
    assert {path.name for path in folder.iterdir()} <= {"in", "out", "x.parquet"}
    rows = pq.read_table(f"{job.sink.uri}/manifest").to_pylist()
    assert len({row["sample_id"] for row in rows}) == len(rows)
    for row in rows:
        assert row["status"] in (OK, FAILED)
        assert (row["output_uri"] is None) == (row["status"] == FAILED)
    return {row["sample_id"]: row["error_type"] for row in rows}


@pytest.mark.parametrize("case", [*TARS, *ZIPPED])
def test_shard(here, tmp_path, monkeypatch, case):
    monkeypatch.setattr(pipeline.sources.tar.source, "MIN_BOMB_BYTES", 1 << 20)
    data, expected = (TARS | ZIPPED)[case]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / f"x.tar{'.gz' * (case in ZIPPED)}").write_bytes(data)
    (tmp_path / "in" / "other.tar").write_bytes(tar(GOOD))
    found = run(config(tmp_path, SourceConfig(format="webdataset", uri=str(tmp_path / "in")), MaskConfig("member")))
    assert found.pop("other.tar/good") is None
    assert expected.items() <= found.items()


TEXT = pa.array(["a", "b"])
PICTURE_VIEWS = pa.struct([("bytes", pa.binary_view()), ("path", pa.string_view())])
PICTURE_DICTIONARIES = pa.struct(
    [("bytes", pa.dictionary(pa.int32(), pa.binary())), ("path", pa.dictionary(pa.int8(), pa.string()))]
)
TABLES = {
    "a null image": ({"image": pa.array([IMAGE, None])}, {"a": None, "b": "MissingImage"}),
    "an empty image": ({"image": pa.array([IMAGE, b""])}, {"b": "UnreadableImage"}),
    "a broken image": ({"image": pa.array([b"no image", IMAGE])}, {"a": "UnreadableImage", "b": None}),
    "images all null": ({"image": pa.nulls(2)}, {"a": "MissingImage", "b": "MissingImage"}),
    "masks all null": ({"mask": pa.nulls(2)}, {"a": "MissingMask", "b": "MissingMask"}),
    "a null mask": ({"mask": pa.array([MASK, None])}, {"a": None, "b": "MissingMask"}),
    "a null key": ({"key": pa.array(["a", None])}, {"a": None, "x.parquet#1": "MissingKey"}),
    "the same key twice": ({"key": pa.array(["a", "a"])}, {"a": None, "a#2": "DuplicateKey"}),
    "a key that is a folder": ({"key": pa.array(["a", "b/."])}, {"a": None, "b/.": "UnusableName"}),
    "keys that climb": ({"key": pa.array(["../a", "/b"])}, {"../a": "UnusableName", "/b": "UnusableName"}),
    "keys of bytes": ({"key": pa.array([b"a.jpg", b"caf\xe9"])}, {"a.jpg": None, "caf\\xe9": "UnusableName"}),
    "keys of numbers": ({"key": pa.array([7, 8])}, {"7": None, "8": None}),
    "a struct": (
        {"image": pa.array([{"bytes": IMAGE, "path": "p"}, {"bytes": None, "path": None}])},
        {"b": "MissingImage"},
    ),
    "a uri to nowhere": ({"image": pa.array(["no.png", "good.png"])}, {"a": "FileNotFound", "b": None}),
    "a uri that climbs": ({"image": pa.array(["../out/x.png", "good.png"])}, {"a": "UnusableName", "b": None}),
    "a text that is not UTF-8": (
        {"image": pa.array([b"\xff", b"good.png"]).view(pa.string())},
        {"a": "UnusableName", "b": None},
    ),
    "views": (
        {
            "image": pa.array([IMAGE, None], pa.binary_view()),
            "mask": pa.array([MASK, MASK], pa.binary_view()),
            "key": pa.array(["a", None], pa.string_view()),
        },
        {"a": None, "x.parquet#1": "MissingKey"},
    ),
    "views in structs": (
        {
            "image": pa.array([{"bytes": IMAGE, "path": None}, {"bytes": None, "path": "good.png"}], PICTURE_VIEWS),
            "mask": pa.array([{"bytes": MASK, "path": "p"}, None], PICTURE_VIEWS),
        },
        {"a": None, "b": "MissingMask"},
    ),
    "dictionaries": (
        {
            "image": pa.array(["good.png", None]).dictionary_encode(),
            "mask": pa.array([MASK, MASK]).dictionary_encode(),
            "key": TEXT.dictionary_encode(),
        },
        {"a": None, "b": "MissingImage"},
    ),
    "dictionaries in structs": (
        {"image": pa.array([None, {"bytes": None, "path": "good.png"}], PICTURE_DICTIONARIES)},
        {"a": "MissingImage", "b": None},
    ),
    "empty bytes with a path and without": (
        {"image": pa.array([{"bytes": b"", "path": "good.png"}, {"bytes": b"", "path": ""}])},
        {"a": None, "b": "MissingImage"},
    ),
    "empty keys": ({"key": pa.array(["", ""])}, {"x.parquet#0": "MissingKey", "x.parquet#1": "MissingKey"}),
    "keys with blanks, in small and in capitals": ({"key": pa.array([" A ", "A"])}, {" A ": None, "A": None}),
    "keys of floats": ({"key": pa.array([1.0, float("nan")])}, {"1.0": None, "x.parquet#1": "MissingKey"}),
    "keys of NaN": (
        {"key": pa.array([float("nan")] * 2, pa.float32())},
        {"x.parquet#0": "MissingKey", "x.parquet#1": "MissingKey"},
    ),
    "keys of dates beyond Python's": (
        {"key": pa.array([0, 9223371331200000000], pa.timestamp("us"))},
        {"1970-01-01 00:00:00": None, "294247-01-02 00:00:00.000000": None},
    ),
    "text keys that are not UTF-8": (
        {"key": pa.array([b"a", b"caf\xe9"]).view(pa.string())},
        {"a": None, "caf\\xe9": "UnusableName"},
    ),
    "columns whose names go on": (
        {"image.bytes": pa.array(["x", "y"]), "mask.path": pa.array([1, 2])},
        {"a": None, "b": None},
    ),
    "large types": ({"image": pa.array([IMAGE, IMAGE], pa.large_binary())}, {"a": None, "b": None}),
}


@pytest.mark.parametrize("sink", ["images", "webdataset", "parquet"])
@pytest.mark.parametrize("case", TABLES)
def test_table(here, tmp_path, case, sink):
    changed, expected = TABLES[case]
    (tmp_path / "in" / "_hidden").mkdir(parents=True)
    (tmp_path / "in" / "_hidden" / "x.parquet").write_bytes(b"not looked at")
    (tmp_path / "in" / "good.png").write_bytes(IMAGE)
    columns = {"image": pa.array([IMAGE, IMAGE]), "mask": pa.array([MASK, MASK]), "key": TEXT, **changed}
    pq.write_table(pa.table(columns), tmp_path / "in" / "x.parquet")
    (tmp_path / "in" / "broken.parquet").write_bytes((tmp_path / "in" / "x.parquet").read_bytes()[:-9])
    (tmp_path / "in" / "empty.parquet").write_bytes(b"")
    source = SourceConfig(format="parquet", uri=str(tmp_path / "in"), key="key")
    found = run(config(tmp_path, source, MaskConfig("column", column="mask"), sink))
    assert found.pop("broken.parquet") == found.pop("empty.parquet") == "BrokenShard"
    assert len(found) == 2
    assert expected.items() <= found.items()


def test_uri_of_a_file_in_a_table_leads_to_it(here, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good.png").write_bytes(IMAGE)
    columns = {"image": [f"file://{tmp_path}/in/good.png"], "mask": [MASK], "key": ["a"]}
    pq.write_table(pa.table(columns), tmp_path / "in" / "x.parquet")
    source = SourceConfig(format="parquet", uri=str(tmp_path / "in"), key="key")
    assert run(config(tmp_path, source, MaskConfig("column", column="mask"))) == {"a": None}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"picture": pa.array([IMAGE])}, "no column image; it has picture"),
        ({"image": pa.array([1])}, "images must be bytes"),
        ({"image": pa.array([{"data": IMAGE}])}, "needs a field bytes"),
        ({"image": pa.array([{"bytes": [1, 2]}])}, "bytes and a text path, but image is struct<bytes: list"),
        ({"image": pa.array([{"bytes": IMAGE, "path": 1}])}, "bytes and a text path"),
        ({"image": pa.array([[{"bytes": IMAGE, "path": "p"}]])}, "the column image is list<"),
        ({"image.bytes": pa.array([IMAGE])}, r"no column image; it has image\.bytes"),
    ],
)
def test_table_that_cannot_hold_images_stops_the_job(here, tmp_path, columns, message):
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "in" / "x.parquet")
    source = SourceConfig(format="parquet", uri=str(tmp_path / "in"))
    with pytest.raises(ConfigError, match=message):
        run(config(tmp_path, source, MaskConfig("alpha")))


def test_table_with_two_columns_of_a_name_stops_the_job(here, tmp_path):
    pq.write_table(pa.table([pa.array([IMAGE]), pa.array([IMAGE])], ["image", "image"]), tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match="several columns image"):
        run(config(tmp_path, SourceConfig("parquet", str(tmp_path / "x.parquet")), MaskConfig("alpha")))


@pytest.mark.parametrize("keys", [pa.array([["a"]]), pa.array([{"a": "b"}])])
def test_column_that_cannot_hold_names_stops_the_job(here, tmp_path, keys):
    pq.write_table(pa.table({"image": [IMAGE], "key": keys}), tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match=r"source\.key=key is (list|struct)"):
        run(config(tmp_path, SourceConfig("parquet", str(tmp_path / "x.parquet"), key="key"), MaskConfig("alpha")))


def test_boxes_that_are_no_numbers_fail_their_own_rows(here, tmp_path):
    boxes = pa.array([[["1"] * 4], None]).cast(pa.list_(pa.list_(pa.binary())))
    pq.write_table(pa.table({"image": [IMAGE] * 2, "boxes": boxes}), tmp_path / "x.parquet")
    source = SourceConfig("parquet", str(tmp_path / "x.parquet"))
    found = run(replace(config(tmp_path, source, MaskConfig("boxes", column="boxes")), limits=LimitsConfig(stall_s=1)))
    assert found == {"x.parquet#0": "BadAnnotation", "x.parquet#1": "MissingMask"}


def test_column_that_one_part_lacks_stops_the_job_and_names_the_part(here, tmp_path):
    (tmp_path / "in").mkdir()
    for name, columns in {"a": {"image": [IMAGE], "mask": [MASK]}, "b": {"image": [IMAGE]}}.items():
        pq.write_table(pa.table(columns), tmp_path / "in" / f"{name}.parquet")
    source = SourceConfig("parquet", str(tmp_path / "in"))
    with pytest.raises(ConfigError, match=r"b\.parquet has no column mask"):
        run(config(tmp_path, source, MaskConfig("column", column="mask")))


def test_parts_of_different_types_each_count(here, tmp_path):
    (tmp_path / "in" / "day=1").mkdir(parents=True)
    picture = pa.struct([("bytes", pa.large_binary()), ("path", pa.large_string())])
    kinds = {"a": pa.binary(), "b": pa.large_binary(), "day=1/c": pa.binary_view(), "d": picture}
    for name, kind in kinds.items():
        images = pa.array([{"bytes": IMAGE, "path": None}] if kind == picture else [IMAGE], kind)
        pq.write_table(pa.table({"image": images, "mask": [MASK]}), tmp_path / "in" / f"{name}.parquet")
    pq.write_table(pa.table({"image": pa.nulls(0), "mask": pa.nulls(0)}), tmp_path / "in" / "e.parquet")
    job = config(tmp_path, SourceConfig("parquet", str(tmp_path / "in")), MaskConfig("column", column="mask"))
    assert run(job) == {f"{name}.parquet#0": None for name in kinds}


def test_column_that_cannot_hold_masks_stops_the_job(here, tmp_path):
    pq.write_table(pa.table({"image": [IMAGE], "mask": [7]}), tmp_path / "x.parquet")
    job = config(tmp_path, SourceConfig("parquet", str(tmp_path / "x.parquet")), MaskConfig("column", column="mask"))
    with pytest.raises(ConfigError, match="the column mask is int64"):
        run(job)


@pytest.mark.parametrize("member", ["png", ".PNG"])
def test_member_that_is_the_mask_is_never_the_image(here, tmp_path, member):
    (tmp_path / "x.tar").write_bytes(tar([("7.png", MASK), ("7.webp", IMAGE)]))  # what it is called is no matter
    config = JobConfig(
        source=SourceConfig("webdataset", str(tmp_path / "x.tar")),
        mask=MaskConfig(kind="member", member=member),
        sink=SinkConfig(uri=str(tmp_path / "out")),
    )
    run_here(config)
    (row,) = pq.read_table(tmp_path / "out" / "manifest").to_pylist()
    assert row["status"] == OK and row["mask_fraction"] == 8 * 6 / (24 * 16)
    assert Image.open(row["output_uri"]).mode == "RGB"


@pytest.mark.parametrize("format", ["webdataset", "parquet"])
def test_folder_without_a_shard_stops_the_job(here, tmp_path, format):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(IMAGE)
    with pytest.raises(ConfigError, match=r"no (shard|file)"):
        run(config(tmp_path, SourceConfig(format=format, uri=str(tmp_path / "in")), MaskConfig("alpha")))


def test_remote_table_cannot_name_files_of_the_workers(here, tmp_path):
    (tmp_path / "private.png").write_bytes(IMAGE)
    table, remote = io.BytesIO(), Storage(f"memory://{tmp_path.name}")
    ways = ("{}", "file://{}", "local://{}", "simplecache::file://{}", "dir::file://{}")
    columns = {"image": [way.format(tmp_path / "private.png") for way in ways], "mask": [MASK] * len(ways)}
    pq.write_table(pa.table(columns), table)
    remote.write("x.parquet", table.getvalue())
    job = config(tmp_path, SourceConfig("parquet", str(remote)), MaskConfig("column", column="mask"))
    run_here(job)
    rows = pq.read_table(tmp_path / "out" / "manifest").to_pylist()
    assert len(rows) == len(ways) and {row["status"] for row in rows} == {FAILED}


@pytest.mark.parametrize("as_uri", [False, True])
def test_limit_of_bytes_holds_for_each_row(here, tmp_path, as_uri):
    (tmp_path / "in").mkdir()
    large = IMAGE + bytes(50_000)
    (tmp_path / "in" / "large.png").write_bytes(large)
    (tmp_path / "in" / "good.png").write_bytes(IMAGE)
    images = ["large.png", "good.png"] if as_uri else [large, IMAGE]
    pq.write_table(pa.table({"image": images, "mask": [MASK, MASK], "key": TEXT}), tmp_path / "in" / "x.parquet")
    source = SourceConfig("parquet", str(tmp_path / "in"), key="key")
    job = config(tmp_path, source, MaskConfig("column", column="mask"))
    read = Storage.read

    def read_small(storage, key="", *more):
        assert "large" not in key
        return read(storage, key, *more)

    here.setattr(Storage, "read", read_small)
    assert run(replace(job, limits=LimitsConfig(max_bytes=30_000))) == {"a": "TooManyBytes", "b": None}


@pytest.mark.parametrize(("zero_bytes", "expected"), [(64 << 20, "BrokenShard"), (1 << 20, None)])
def test_zeros_behind_the_end_of_a_compressed_shard_are_read_no_further_than_a_bomb_is(
    tmp_path, monkeypatch, zero_bytes, expected
):
    monkeypatch.setattr(pipeline.sources.tar.source, "MIN_BOMB_BYTES", 2 << 20)
    with gzip.open(tmp_path / "x.tar.gz", "wb") as file:
        file.write(tar(GOOD))
        file.write(bytes(zero_bytes))
    read, deepest = ForwardFile.read, [0]

    def read_and_note(file, size):
        deepest.append(file.tell())
        return read(file, size)

    monkeypatch.setattr(ForwardFile, "read", read_and_note)
    storage = Storage(str(tmp_path))
    job = config(tmp_path, SourceConfig("webdataset", str(tmp_path)), MaskConfig("member"))
    source = TarShards(wanted_by(job), storage)
    faults = [found.fault and found.fault.partition(":")[0] for found in source.samples(storage.list_files())]
    assert faults == [None, *([expected] if expected else [])]
    assert max(deepest) < 16 << 20
