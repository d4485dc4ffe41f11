"""Any source to any sink, with every kind of mask that a source can have: the same pixels come out of all of them."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import pipeline.sources.tar.source
from pipeline.config.job import JobConfig, LimitsConfig, MaskConfig, ModelConfig, RunConfig, SinkConfig, SourceConfig
from pipeline.errors import ConfigError
from pipeline.records import FAILED, OK
from pipeline.sinks.results import read_result
from tests.conftest import make_photos, textured
from tests.pipeline.flow_here import run_here

COUNT = 5
BOX = [30, 20, 60, 40]  # of the hole that make_photos draws: left, top, right, bottom
SOURCES = ("images", "tar", "tar.gz", "parquet", "parquet-struct", "parquet-uri")
INNER = {"tar": ["member"], "tar.gz": ["member"], "parquet": ["column"], "parquet-struct": ["column"]}
SINKS = ("images", "webdataset", "parquet")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """The same photos and masks in every form."""
    folder = tmp_path_factory.mktemp("corpus")
    photos, masks = make_photos(folder, COUNT)
    names = [path.stem for path in sorted(photos.iterdir())]
    pairs = [((photos / f"{name}.png").read_bytes(), (masks / f"{name}.png").read_bytes()) for name in names]
    for suffix, mode in (("tar", "w"), ("tar.gz", "w:gz")):
        (folder / suffix).mkdir()
        for shard, some in ((0, slice(0, 3)), (1, slice(3, None))):
            with tarfile.open(folder / suffix / f"{shard:02}.{suffix}", mode) as tar:
                for name, (image, mask) in zip(names[some], pairs[some], strict=True):
                    for extension, data in (("png", image), ("mask.png", mask), ("txt", name.encode())):
                        header = tarfile.TarInfo(f"{name}.{extension}")
                        header.size = len(data)
                        tar.addfile(header, io.BytesIO(data))
    images = {
        "parquet": pa.array([image for image, _ in pairs]),
        "parquet-struct": pa.array([{"bytes": image, "path": None} for image, _ in pairs]),
        "parquet-uri": pa.array([f"{name}.png" for name in names]),
    }
    for form, column in images.items():
        path = folder / form / "split=train" / "a.parquet"
        path.parent.mkdir(parents=True)
        columns = {
            "image": column,
            "key": pa.array([f"k/{name}" for name in names]),
            "mask": pa.array([mask for _, mask in pairs]),
            "boxes": pa.array([[BOX]] * COUNT),
            "caption": pa.array(names),
            "unused": pa.array([b"x" * 1000] * COUNT),
        }
        pq.write_table(pa.table(columns), path, row_group_size=2)
        if form == "parquet-uri":
            for name, (image, _) in zip(names, pairs, strict=True):
                (folder / form / f"{name}.png").write_bytes(image)
    return folder


def source(folder: Path, form: str) -> SourceConfig:
    if form == "list":
        columns = {"key": [f"{index:03}.png" for index in range(COUNT)], **CARRIED}
        pq.write_table(pa.table(columns), folder / "list.parquet")
        return SourceConfig(format="list", uri=str(folder / "list.parquet"), root=str(folder / "photos"))
    if form == "images":
        return SourceConfig(uri=str(folder / "photos"))
    if form.startswith("tar"):
        return SourceConfig(format="webdataset", uri=str(folder / form))
    return SourceConfig(format="parquet", uri=str(folder / form), key="key")


def sample_ids(form: str) -> list[str]:
    if form in ("images", "list"):
        return [f"{index:03}.png" for index in range(COUNT)]
    if form.startswith("tar"):
        return [f"{index // 3:02}.{form}/{index:03}" for index in range(COUNT)]
    return [f"k/{index:03}" for index in range(COUNT)]


def mask(folder: Path, out: Path, form: str, kind: str) -> MaskConfig:
    if kind == "paired":  # masks named after the samples, whatever these are called
        for index, name in enumerate(sample_ids(form)):
            target = out / "masks" / f"{name.removesuffix('.png')}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((folder / "masks" / f"{index:03}.png").read_bytes())
        return MaskConfig(uri=str(out / "masks"))
    if kind == "static":
        return MaskConfig(kind="static", uri=str(folder / "masks" / "000.png"))
    if kind == "boxes":
        lines = [json.dumps({"sample_id": name, "boxes": [BOX]}) for name in sample_ids(form)]
        (out / "boxes.jsonl").write_text("\n".join(lines))
        return MaskConfig(kind="boxes", uri=str(out / "boxes.jsonl"))
    if kind == "boxes-column":
        return MaskConfig(kind="boxes", column="boxes")
    return MaskConfig(kind=kind, column="mask" if kind == "column" else None)


def run(config: JobConfig, run_id: str = "run") -> dict[str, dict]:
    run_here(config, run_id)
    rows = pq.read_table(f"{config.sink.uri}/manifest").to_pylist()
    assert len({row["sample_id"] for row in rows}) == len(rows)
    return {row["sample_id"]: row for row in sorted(rows, key=lambda row: row["sample_id"])}


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


CASES = [
    (form, kind, sink)
    for form in SOURCES
    for kind in ["paired", "static", "boxes", *INNER.get(form, []), *["boxes-column"] * form.startswith("parquet")]
    for sink in SINKS
]


@pytest.mark.parametrize(("form", "kind", "sink"), CASES, ids=["-".join(case) for case in CASES])
def test_any_source_mask_and_sink_give_the_same_pixels(here, corpus, tmp_path, form, kind, sink):
    config = JobConfig(
        source=source(corpus, form),
        mask=mask(corpus, tmp_path, form, kind),
        sink=SinkConfig(uri=str(tmp_path / "out"), format=sink, shard_samples=2),
    )
    rows = run(config)
    assert list(rows) == sample_ids(form)
    for index, row in enumerate(rows.values()):
        assert row["status"] == OK, row["error_message"]
        before = pixels((corpus / "photos" / f"{index:03}.png").read_bytes())
        expected = before.copy()
        expected[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 255 - before[BOX[1] : BOX[3], BOX[0] : BOX[2]]
        assert np.array_equal(pixels(read_result(row, {})), expected)
    assert run(config, "again") == rows


def _carried(rows: dict[str, dict], name: str) -> dict[str, object]:
    """What shards hold of one carried column, by sample."""
    found: dict[str, object] = {}
    for shard in {row["output_uri"] for row in rows.values()}:
        if shard.endswith(".parquet"):
            table = pq.ParquetFile(shard).read(["sample_id", name])
            found |= dict(zip(*(column.to_pylist() for column in table.columns), strict=True))
        else:
            with tarfile.open(shard) as tar:
                lines = [json.loads(tar.extractfile(member).read()) for member in tar if member.name.endswith(".json")]
            found |= {line["sample_id"]: line.get(name) for line in lines}
    return found


@pytest.mark.parametrize("sink", ["webdataset", "parquet"])
@pytest.mark.parametrize(("form", "carry"), [("tar", ["txt"]), ("tar.gz", ["txt"]), ("parquet", ["caption"])])
def test_carried_columns_and_members_go_with_the_results(here, corpus, tmp_path, form, carry, sink):
    config = JobConfig(
        source=source(corpus, form),
        mask=mask(corpus, tmp_path, form, "static"),
        sink=SinkConfig(uri=str(tmp_path / "out"), format=sink, carry=carry),
    )
    rows = run(config)
    (shard,) = {row["output_uri"] for row in rows.values()}
    names = [f"{index:03}" for index in range(COUNT)]
    if sink == "parquet":
        found = pq.read_table(shard)
        assert found["sample_id"].to_pylist() == list(rows)
        values = found[carry[0]].to_pylist()
        assert [value.decode() if form != "parquet" else value for value in values] == names
        return
    with tarfile.open(shard) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
    described = [json.loads(data) for name, data in members.items() if name.endswith(".json")]
    assert [line["sample_id"] for line in described] == list(rows)
    if form == "parquet":
        assert [line["caption"] for line in described] == names
    else:
        assert [data.decode() for name, data in members.items() if name.endswith(".txt")] == names


CARRIED = {
    "label": pa.array([3, None, 1, 4, 1], pa.int16()),
    "score": pa.array([0.5, 1.5, None, -2.0, 0.25], pa.float32()),
    "caption": pa.array(["a", "", "é", None, "e"]),
    "tags": pa.array([["x", None], [], None, ["y"], ["z"]]),
    "camera": pa.array([{"iso": 100, "at": [1.5]}, None, {"iso": None, "at": []}, {"iso": 1, "at": [2.0]}, None]),
    "thumbnail": pa.array([b"\xff\0", b"", None, b"b", b"c"]),
}


@pytest.mark.parametrize("sink", ["webdataset", "parquet"])
def test_columns_of_a_list_go_with_the_results(here, corpus, tmp_path, sink):
    config = JobConfig(
        source=source(corpus, "list"),
        mask=mask(corpus, tmp_path, "list", "paired"),
        sink=SinkConfig(uri=str(tmp_path / "out"), format=sink, carry=list(CARRIED), shard_samples=2),
    )
    rows = run(config)
    assert {row["status"] for row in rows.values()} == {OK} and len(rows) == COUNT
    for name, values in CARRIED.items():
        wanted = dict(zip(rows, values.to_pylist(), strict=True))
        if sink == "parquet":
            assert _carried(rows, name) == wanted
            types = {pq.read_schema(row["output_uri"]).field(name).type for row in rows.values()}
            assert types == {pq.read_schema(config.source.uri).field(name).type}
        elif name == "thumbnail":  # bytes are members of their own
            assert _members(rows, name) == {key: value for key, value in wanted.items() if value is not None}
        else:
            assert _carried(rows, name) == wanted
    assert run(config, "again") == rows


def _members(rows: dict[str, dict], extension: str) -> dict[str, bytes]:
    """What tar shards hold of one extension, by sample."""
    found = {}
    for name, row in rows.items():
        with tarfile.open(row["output_uri"]) as tar:
            member = f"{row['output_member'].removesuffix('.png')}.{extension}"
            if member in tar.getnames():
                found[name] = tar.extractfile(member).read()
    return found


COLUMNS = {
    "all null in one file": [pa.nulls(COUNT), pa.array(["text"] * COUNT)],
    "dictionaries": [pa.array(["x"] * COUNT).dictionary_encode(), pa.array(["y"] * COUNT).dictionary_encode()],
    "texts and lists": [pa.array(["x"] * COUNT), pa.array([["x"]] * COUNT)],
    "structs": [pa.array([{"a": 1}] * COUNT), pa.array([{"a": None}] * COUNT)],
}


@pytest.mark.parametrize("sink", ["webdataset", "parquet"])
@pytest.mark.parametrize(("case", "name"), [*((case, "more") for case in COLUMNS), ("structs", "json")])
def test_carried_column_may_be_of_another_type_in_another_file(here, corpus, tmp_path, case, sink, name):
    table = pq.read_table(corpus / "parquet" / "split=train" / "a.parquet")
    (tmp_path / "in").mkdir()
    for number, column in enumerate(COLUMNS[case]):
        keys = pa.array([f"{index}/{number}" for index in range(COUNT)])  # rows of both files in turn
        columns = {"image": table["image"], "mask": table["mask"], "key": keys, name: column}
        pq.write_table(pa.table(columns), tmp_path / "in" / f"{number}.parquet")
    config = JobConfig(
        source=SourceConfig(format="parquet", uri=str(tmp_path / "in"), key="key"),
        mask=MaskConfig("column", column="mask"),
        sink=SinkConfig(uri=str(tmp_path / "out"), format=sink, carry=[name]),
    )
    rows = run(config)
    assert {row["status"] for row in rows.values()} == {OK} and len(rows) == 2 * COUNT
    wanted = {
        f"{index}/{number}": column[index].as_py()
        for number, column in enumerate(COLUMNS[case])
        for index in range(COUNT)
    }
    assert _carried(rows, name) == wanted


def test_shards_are_bounded_and_lose_what_was_replaced(here, corpus, tmp_path):
    photos, masks = make_photos(tmp_path, 7)
    config = JobConfig(
        source=SourceConfig(uri=str(photos)),
        mask=MaskConfig(uri=str(masks)),
        sink=SinkConfig(uri=str(tmp_path / "out"), format="webdataset", shard_samples=3),
    )
    first = run(config)
    before = sorted(path.name for path in (tmp_path / "out" / "data").iterdir())
    assert sorted(int(name.split("-")[1].removesuffix(".tar")) for name in before) == [1, 3, 3]
    Image.fromarray(textured(80, 96, seed=50)).save(photos / "001.png")
    (photos / "005.png").write_bytes(b"broken now")
    second = run(config, "second")
    assert second["005.png"]["status"] == FAILED
    named = {row["output_uri"] for row in second.values() if row["output_uri"]}
    assert {str(path) for path in (tmp_path / "out" / "data").iterdir()} == named
    members = []
    for uri in named:
        with tarfile.open(uri) as tar:
            members += [name for name in tar.getnames() if name.endswith(".png")]
    assert sorted(members) == [f"{index:03}.png" for index in (0, 1, 2, 3, 4, 6)]
    for name, row in second.items():
        if name not in ("001.png", "005.png"):
            assert row["output_sha256"] == first[name]["output_sha256"]
            assert row["run_id"] == "run"
            assert pixels(read_result(row, {})).shape == (80, 96, 3)


def test_sink_in_another_format_is_refused_and_then_done_again_without_leftovers(here, corpus, tmp_path):
    config = JobConfig(
        source=source(corpus, "images"),
        mask=mask(corpus, tmp_path, "images", "static"),
        sink=SinkConfig(uri=str(tmp_path / "out"), format="webdataset"),
    )
    run(config)
    for sink, suffix in (("parquet", ".parquet"), ("images", ".png"), ("webdataset", ".tar")):
        other = JobConfig(
            source=config.source, mask=config.mask, sink=SinkConfig(uri=str(tmp_path / "out"), format=sink)
        )
        with pytest.raises(ConfigError, match=r"run.redo_changed=true"):
            run(other, f"{sink}-refused")
        run(JobConfig(other.source, other.mask, sink=other.sink, run=RunConfig(redo_changed=True)), sink)
        assert {path.suffix for path in (tmp_path / "out" / "data").iterdir()} == {suffix}


def test_shards_that_the_manifest_knows_are_not_opened_again(here, corpus, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for name in ("00.tar", "01.tar"):
        (tmp_path / "in" / name).write_bytes((corpus / "tar" / name).read_bytes())
    config = JobConfig(
        source=SourceConfig(format="webdataset", uri=str(tmp_path / "in")),
        mask=MaskConfig("member"),
        sink=SinkConfig(uri=str(tmp_path / "out")),
    )
    opened = []
    real = pipeline.sources.tar.source.open_shard
    monkeypatch.setattr(
        pipeline.sources.tar.source, "open_shard", lambda storage, key: opened.append(key) or real(storage, key)
    )
    first = run(config)
    assert sorted(opened) == ["00.tar", "01.tar"]
    opened.clear()
    assert run(config, "again") == first and opened == []
    chosen = run(replace(config, run=RunConfig(select=f"sample_id = '{min(first)}'")), "chosen")
    assert [name for name, row in chosen.items() if row["run_id"] == "chosen"] == [min(first)]
    opened.clear()
    (tmp_path / "in" / "01.tar").write_bytes((corpus / "tar" / "00.tar").read_bytes())
    assert len(run(config, "changed")) == COUNT + 3  # what the old 01.tar held is gone, and keeps its rows
    assert opened == ["01.tar"]
    opened.clear()
    summary = run_here(config, "finished")
    assert (summary.samples["found"], summary.samples["gone"], opened) == (6, 2, [])
    with pytest.raises(ConfigError, match=r"run.redo_changed=true"):
        run(replace(config, model=ModelConfig(seed=1)), "refused")
    assert sorted(opened) == ["00.tar", "01.tar"]
    (tmp_path / "in" / "01.tar").unlink()
    opened.clear()
    run_here(config, "gone")
    summary = json.loads((tmp_path / "out" / "runs" / "gone.json").read_text())
    assert (summary["samples"]["found"], summary["samples"]["gone"], opened) == (3, 5, [])


def test_limits_of_bytes_hold_before_reading(here, corpus, tmp_path):
    config = JobConfig(
        source=source(corpus, "tar"),
        mask=mask(corpus, tmp_path, "tar", "member"),
        sink=SinkConfig(uri=str(tmp_path / "out")),
        limits=LimitsConfig(max_bytes=1000),
    )
    assert {row["error_type"] for row in run(config).values()} == {"TooManyBytes"}
