"""Columns that a list carries: what a plan holds of them, and what a changed label does."""

import decimal
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline.planning.plan
from pipeline.config.job import JobConfig, MaskConfig, RunConfig
from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.manifest.log import Manifest
from pipeline.planning.listing import find_samples
from pipeline.planning.plan import make_plan
from pipeline.sources.listed.carried import MAX_BYTES, pack_rows, unpack_row
from pipeline.sources.versions import file_version_of, mask_version_of
from pipeline.storage.storage import Storage
from tests.pipeline.flow_here import run_here
from tests.pipeline.sources.test_listed import faults, found, job, listed_photos, reasons, rows_of, write

COLUMNS = {
    "label": pa.array([7, None, -1], pa.int16()),
    "score": pa.array([0.1, float("inf"), None], pa.float32()),
    "caption": pa.array(["a cat", "", "é"]),
    "flag": pa.array([True, False, True]),
    "tags": pa.array([["a", None], [], None]),
    "camera": pa.array([{"iso": 100, "lens": ["f/2"]}, {"iso": None, "lens": []}, None]),
    "nothing": pa.nulls(3),
    "digest": pa.array([b"\xff\0", b"", None]),
    "price": pa.array([decimal.Decimal("1.20"), None, decimal.Decimal("-3.40")]),
    "day": pa.array([date(2026, 1, 2), None, date(1, 1, 1)]),
    "far": pa.array([9223371331200000000, 0, None], pa.timestamp("us", "UTC")),
    "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
    "tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12.0).reshape(3, 2, 2)),
    "broken": pa.array([b"\xff", b"ok", None]).view(pa.string()),
}


def carrying(config: JobConfig, *names: str, format: str = "webdataset") -> JobConfig:
    return replace(config, sink=replace(config.sink, format=format, carry=list(names)))


@pytest.mark.parametrize("name", COLUMNS)
def test_packed_row_is_the_same_row_with_its_types(name):
    rows = pa.record_batch({name: COLUMNS[name]})
    packed, _, none = pack_rows(rows)
    plain = COLUMNS[name].cast(pa.string()) if name == "kind" else COLUMNS[name]
    unpacked = [unpack_row(data) for data in packed.to_pylist()]
    assert pa.concat_arrays([row.column(name) for row in unpacked]).equals(plain)
    assert {row.schema.field(name).type for row in unpacked} == {plain.type} and none.null_count == 3


def test_version_of_a_row_depends_on_its_own_values_only():
    rows = pa.record_batch(COLUMNS)
    _, versions, _ = pack_rows(rows)
    assert len(set(versions.to_pylist())) == 3
    for index in range(3):
        _, alone, _ = pack_rows(rows.take(pa.array([index])))
        assert alone[0].as_py() == versions[index].as_py()


def test_parts_of_a_version_with_carried_values():
    _, versions, _ = pack_rows(pa.record_batch({"a": [1]}))
    version = f"~etag{versions[0]} mask:~m"
    assert (file_version_of(version), mask_version_of(version)) == ("~etag", "~m")


def test_row_that_is_too_long_for_a_plan_fails_by_itself(tmp_path):
    path = write(tmp_path / "l.parquet", {"key": ["1.jpg", "2.jpg"], "text": ["x" * MAX_BYTES, "short"]})
    rows, _ = found(carrying(job(path, MaskConfig("alpha")), "text"))
    assert faults(rows) == {"1.jpg": "TooManyBytes"} and rows[0]["carried"] is None
    assert unpack_row(rows[1]["carried"]).to_pylist() == [{"text": "short"}]


def test_plan_holds_nothing_where_nothing_is_carried(tmp_path):
    rows, _ = found(job(write(tmp_path / "l.csv", {"key": ["1.jpg"], "label": [1]}), MaskConfig("alpha")))
    assert rows[0]["carried"] is None and rows[0]["input_version"] == ""


def test_text_of_a_csv_file_is_carried_as_it_is(tmp_path):
    path = tmp_path / "l.csv"
    path.write_bytes(b"key,id,note\n1.jpg,007,NA\n2.jpg,1e3,\n3.jpg,true,caf\xe9\n")
    rows, _ = found(carrying(job(path, MaskConfig("alpha")), "id", "note"))
    unpacked = [unpack_row(row["carried"]) for row in rows]
    assert [row.column("id")[0].as_py() for row in unpacked] == ["007", "1e3", "true"]
    assert [row.column("note").cast(pa.binary())[0].as_py() for row in unpacked] == [b"NA", b"", b"caf\xe9"]


def test_values_of_json_lines_have_the_types_of_json(tmp_path):
    values = {"n": 7, "x": 0.5, "at": "2026-01-02T03:04:05", "tags": ["a"], "deep": {"at": "2026-01-02", "z": None}}
    (tmp_path / "l.jsonl").write_text("".join(json.dumps({"key": f"{i}.jpg", **values}) + "\n" for i in range(3)))
    rows, _ = found(carrying(job(tmp_path / "l.jsonl", MaskConfig("alpha")), *values))
    assert [unpack_row(row["carried"]).to_pylist() for row in rows] == [[values]] * 3


def test_field_that_only_later_lines_have_is_not_left_out_unsaid(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.sources.listed.tables.PARSE_BYTES", 100)
    lines = [{"key": f"{i}.jpg", "deep": {"a": 1} if i < 9 else {"a": 1, "b": 2}} for i in range(12)]
    (tmp_path / "l.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ConfigError, match=r"l.jsonl cannot be read as JSON lines: .*unexpected field"):
        found(carrying(job(tmp_path / "l.jsonl", MaskConfig("alpha")), "deep"))


@pytest.mark.parametrize("name", ["l.parquet", "l.csv", "l.jsonl"])
def test_missing_column_stops_the_job_before_a_worker_and_is_named(tmp_path, name):
    path = write(tmp_path / name, {"key": ["1.jpg"], "label": [1]})
    with pytest.raises(ConfigError, match=r"has no column caption; it has key, label: .*sink.carry"):
        found(carrying(job(path, MaskConfig("alpha")), "label", "caption"))


def test_bytes_inside_a_list_stop_a_job_to_tars_before_it_starts(tmp_path):
    path = write(tmp_path / "l.parquet", {"key": ["1.jpg"], "deep": pa.array([[b"x"]])})
    config = job(path, MaskConfig("alpha"))
    with pytest.raises(ConfigError, match="the JSON of a tar cannot hold bytes, but deep is"):
        found(carrying(config, "deep"))
    assert len(found(carrying(config, "deep", format="parquet"))[0]) == 1


def test_list_carries_only_into_shards(tmp_path):
    path = write(tmp_path / "l.csv", {"key": ["1.jpg"], "label": [1]})
    with pytest.raises(ConfigError, match=r"sink.carry needs a sink of shards"):
        carrying(job(path, MaskConfig("alpha")), "label", format="images")


def test_large_carried_values_make_smaller_chunks_of_a_plan(here, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline.planning.plan, "CHUNK_CARRIED_BYTES", 2000)
    config = carrying(listed_photos(tmp_path, text=["x" * 900] * 4), "text")
    with Database() as database:
        find_samples(config, database)
        plan = make_plan(config, database, "weights", Manifest(Storage(config.sink.uri)))
        assert [chunk.num_rows for chunk in plan.chunks()] == [1, 1, 1, 1]


# Whole jobs


def relabelled(config: JobConfig, **columns: Any) -> None:
    """Write the list anew with other values."""
    path = Path(config.source.uri)
    rows = pa.csv.read_csv(path)
    write(path, {name: rows[name] for name in rows.schema.names} | columns)


def carried(config: JobConfig) -> dict[str, Any]:
    """What the shards of a sink hold of the label, by sample; each sample is in one shard, also after repacking."""
    shards = sorted((Path(config.sink.uri) / "data").iterdir())
    assert {str(shard) for shard in shards} == {row["output_uri"] for row in rows_of(config)}
    rows = [row for shard in shards for row in pq.read_table(shard, columns=["sample_id", "label"]).to_pylist()]
    assert len(rows) == len({row["sample_id"] for row in rows})
    return {row["sample_id"]: row["label"] for row in rows}


def test_changed_label_alone_makes_its_sample_a_changed_one(here, tmp_path):
    config = carrying(listed_photos(tmp_path, label=list("abcd"), other=list("wxyz")), "label", format="parquet")
    run_here(config)
    assert reasons(config) == {}
    relabelled(config, other=pa.array(["new"] * 4))
    assert reasons(config) == {}
    relabelled(config, label=pa.array(["a", "b", "new", "d"]))
    assert reasons(config) == {"changed": 1}
    run_here(config, "again")
    assert [row["run_id"] for row in rows_of(config)] == ["run", "run", "again", "run"]
    assert carried(config) == {"000.png": "a", "001.png": "b", "002.png": "new", "003.png": "d"}


def test_other_carried_columns_are_another_setting_and_not_a_change(here, tmp_path):
    config = carrying(listed_photos(tmp_path, label=list("abcd"), other=list("wxyz")), "label")
    run_here(config)
    with pytest.raises(ConfigError, match=r"run.redo_changed=true"):
        reasons(carrying(config, "label", "other"))
    with pytest.raises(ConfigError, match=r"run.redo_changed=true"):
        reasons(carrying(config))
    assert reasons(replace(carrying(config, "other"), run=RunConfig(redo_changed=True))) == {"redone": 4}
