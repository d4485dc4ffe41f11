"""Carried columns of odd types and values: Parquet holds them as they were, a tar names what JSON cannot hold."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.job import JobConfig, LimitsConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.errors import ConfigError
from pipeline.records import OK, Record
from pipeline.sinks.shards import ShardWriter, read_shard
from tests.pipeline.flow_here import run_here
from tests.pipeline.scenarios.test_hostile_shards import GOOD, IMAGE, MASK, tar

COUNT = 18
FAR = 9223371331200000000  # microseconds: "infinity" of Postgres, in the year 294247
TEXTS = [f"text {number}" for number in range(COUNT)]
NESTED = pa.list_(pa.struct([("at", pa.timestamp("us")), ("data", pa.binary())]))
COLUMNS = {
    "when": pa.array([*range(COUNT - 1), FAR], pa.timestamp("us", "UTC")),
    "day": pa.array([2**30, *range(COUNT - 1)], pa.date32()),
    "clock": pa.array(range(COUNT), pa.time64("ns")),
    "tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(COUNT * 4.0).reshape(COUNT, 2, 2)),
    "score": pa.array([float("nan"), float("inf"), *([0.5] * (COUNT - 2))]),
    "kind": pa.array(["a", "b", None] * (COUNT // 3)).dictionary_encode(),
    "view": pa.array(TEXTS, pa.string_view()),
    "nested": pa.array([[{"at": FAR, "data": b"x"}]] * COUNT, NESTED),
    "text": pa.array([*TEXTS[1:], b"\xff"], pa.binary()).view(pa.string()),
}


def rows_of(folder, sink: str, columns: dict[str, pa.Array]) -> dict[str, dict]:
    """Manifest rows of a job that carries columns, by sample."""
    table = pa.table({"image": [IMAGE] * COUNT, "mask": [MASK] * COUNT, **columns})
    pq.write_table(table, folder / "x.parquet", row_group_size=5)
    return run(folder, SourceConfig("parquet", str(folder / "x.parquet")), sink, list(columns))


def run(folder, source: SourceConfig, sink: str, carry: list[str]) -> dict[str, dict]:
    job = JobConfig(
        source=source,
        mask=MaskConfig("column", column="mask") if source.format == "parquet" else MaskConfig("member"),
        sink=SinkConfig(uri=str(folder / "out"), format=sink, carry=carry),
        limits=LimitsConfig(max_failed_fraction=1.0, stall_s=1),
    )
    run_here(job)
    return {row["sample_id"]: row for row in pq.read_table(folder / "out" / "manifest").to_pylist()}


def test_parquet_sink_holds_every_value_as_it_was(here, tmp_path):
    rows = rows_of(tmp_path, "parquet", COLUMNS)
    assert {row["status"] for row in rows.values()} == {OK} and len(rows) == COUNT
    (shard,) = {row["output_uri"] for row in rows.values()}
    found = pq.read_table(shard)
    order = pa.array([int(name.partition("#")[2]) for name in found["sample_id"].to_pylist()])
    for name, values in COLUMNS.items():
        plain = values.cast(pa.string()) if name in ("kind", "view") else values
        assert found[name].type == plain.type
        assert found[name].combine_chunks().equals(plain.take(order)) or name == "score"
    assert str(found["score"].to_pylist()) == str(COLUMNS["score"].take(order).to_pylist())


@pytest.mark.parametrize("name", [name for name in COLUMNS if name != "nested"])
def test_tar_sink_fails_only_samples_whose_value_is_not_in_json(here, tmp_path, name):
    rows = rows_of(tmp_path, "webdataset", {name: COLUMNS[name]})
    failed = {key: row["error_message"] for key, row in rows.items() if row["status"] != OK}
    expected = {"score": ["x.parquet#1"], "text": [f"x.parquet#{COUNT - 1}"]}.get(name, [])
    assert sorted(failed) == sorted(expected) and len(rows) == COUNT
    assert all(f"the value of {name} " in message for message in failed.values())


def test_column_with_bytes_inside_stops_a_job_to_tars_before_it_starts(here, tmp_path):
    structs = pa.array([{"a": {"b": b"x"}}] * COUNT, pa.struct([("a", pa.struct([("b", pa.large_binary())]))]))
    for values in (COLUMNS["nested"], structs, pa.array([[("k", b"v")]] * COUNT, pa.map_(pa.string(), pa.binary(1)))):
        with pytest.raises(ConfigError, match="the JSON of a tar cannot hold bytes, but x is"):
            rows_of(tmp_path, "webdataset", {"x": values})


def test_json_of_a_tar_sink_is_json(here, tmp_path):
    rows = rows_of(tmp_path, "webdataset", {name: COLUMNS[name] for name in ("when", "tensor", "score", "kind")})
    with tarfile.open(rows["x.parquet#0"]["output_uri"]) as shard:
        lines = [shard.extractfile(member).read() for member in shard if member.name.endswith(".json")]
    found = {}
    for line in lines:
        described = json.loads(line, parse_constant=pytest.fail)
        found[described.pop("sample_id")] = described
    at = "1970-01-01 00:00:00"
    assert found["x.parquet#0"] == {"when": f"{at}+00:00", "tensor": [[0, 1], [2, 3]], "kind": "a"}  # NaN is null
    assert found[f"x.parquet#{COUNT - 1}"]["when"] == "294247-01-02 00:00:00.000000+00:00"


@pytest.mark.parametrize("text", [b"no json", b"[" * 100_000, b"Infinity", b"\xff"])
def test_member_that_is_no_json_fails_only_its_own_sample(here, tmp_path, text):
    members = [(f"{name}{end}", data) for name in "abc" for end, data in ((".png", IMAGE), (".mask.png", MASK))]
    others = [(f"{name}.json", text if name == "b" else b'{"n": NaN}') for name in "abc"]
    (tmp_path / "x.tar").write_bytes(tar([*GOOD, *sorted(members + others)]))
    rows = run(tmp_path, SourceConfig("webdataset", str(tmp_path / "x.tar")), "webdataset", ["json"])
    assert {key: row["error_type"] for key, row in rows.items() if row["status"] != OK} == {"x.tar/b": "UncarriedValue"}
    assert "the value of json " in rows["x.tar/b"]["error_message"] and len(rows) == 4


def test_last_day_of_spark_stays_what_it_is_as_value_and_as_key(here, tmp_path):
    days = pa.array([253402214400000000, 0], pa.timestamp("us"))  # of 96 bits in the file; the first is 9999-12-31
    table = pa.table({"image": [IMAGE] * 2, "mask": [MASK] * 2, "day": days})
    pq.write_table(table, tmp_path / "x.parquet", use_deprecated_int96_timestamps=True, store_schema=False)
    source = SourceConfig("parquet", str(tmp_path / "x.parquet"), key="day")
    rows = run(tmp_path, source, "parquet", ["day"])
    assert sorted(rows) == ["1970-01-01 00:00:00", "9999-12-31 00:00:00"]
    found = pq.read_table(rows["9999-12-31 00:00:00"]["output_uri"])
    assert dict(zip(found["sample_id"].to_pylist(), map(str, found["day"].to_pylist()), strict=True)) == {
        name: name for name in rows
    }


def test_extension_that_is_not_registered_keeps_its_name(here, tmp_path):
    mark = {b"ARROW:extension:name": b"someones.tensor", b"ARROW:extension:metadata": b"[2]"}
    schema = pa.schema(
        [("image", pa.binary()), ("mask", pa.binary()), pa.field("x", pa.list_(pa.int8()), metadata=mark)]
    )
    pq.write_table(pa.table([[IMAGE], [MASK], [[1, 2]]], schema=schema), tmp_path / "x.parquet")
    rows = run(tmp_path, SourceConfig("parquet", str(tmp_path / "x.parquet")), "parquet", ["x"])
    field = pq.read_schema(rows["x.parquet#0"]["output_uri"]).field("x")
    assert mark.items() <= field.metadata.items()


def test_shard_that_is_written_anew_holds_the_same(tmp_path):
    carried = pa.record_batch(COLUMNS)
    with ShardWriter(".parquet") as first, ShardWriter(".parquet") as second:
        for number in range(COUNT):
            record = Record(f"{number}.png", OK, output_format="png", width=1, height=1)
            first.add(record, b"image", carried.slice(number, 1))
        key = first.finish()
        with open(first.path, "rb") as file:
            assert [second.take_over(member) for member in read_shard(key, file)] == [str(n) for n in range(COUNT)]
        second.finish()
        tables = [pq.read_table(io.BytesIO(Path(writer.path).read_bytes())) for writer in (first, second)]
    assert tables[0].schema.equals(tables[1].schema, check_metadata=True)
    same = [name for name in tables[0].column_names if name != "score"]  # NaN equals nothing
    assert tables[0].select(same).equals(tables[1].select(same)) and tables[0].num_rows == COUNT
