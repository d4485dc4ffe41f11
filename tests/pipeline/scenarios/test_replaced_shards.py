"""Tar shards and Parquet files that change or go while a job is planned or at work: no sample gets another's pixels."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.job import MaskConfig, SourceConfig
from pipeline.storage.storage import Storage
from tests.pipeline.flow_here import BeforeWork
from tests.pipeline.scenarios.test_hostile_shards import GOOD, IMAGE, MASK, config, pair, png, run, tar


def test_shard_that_is_replaced_after_the_plan_fails_its_samples_and_the_next_run_does_them(
    here, tmp_path, monkeypatch
):
    shard = tmp_path / "in" / "x.tar"
    shard.parent.mkdir()
    shard.write_bytes(tar([*pair("a"), *pair("b")]))
    job = config(tmp_path, SourceConfig(format="webdataset", uri=str(shard)), MaskConfig("member"))
    real = Storage.read

    def replace_first(storage, key="", *more):
        if key == "x.tar":
            shard.write_bytes(tar([("new.txt", b"1"), *pair("b"), *pair("a")]))
            monkeypatch.setattr(Storage, "read", real)
        return real(storage, key, *more)

    monkeypatch.setattr(Storage, "read", replace_first)
    assert set(run(job).values()) == {"FileChanged"}
    assert run(job) == {"x.tar/a": None, "x.tar/b": None, "x.tar/new": "MissingImage"}


@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_shard_that_is_deleted_while_it_is_planned_stops_nothing(here, tmp_path, form):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.tar").write_bytes(tar(GOOD))
        pq.write_table(pa.table({"image": [IMAGE], "mask": [MASK]}), folder / f"{name}.parquet")
    opened = Storage.open

    def delete_and_open(storage, key, *block_bytes):
        for path in folder.glob("b.*"):
            path.unlink()
        return opened(storage, key, *block_bytes)

    here.setattr(Storage, "open", delete_and_open)
    mask = MaskConfig("member") if form == "webdataset" else MaskConfig("column", column="mask")
    assert len(run(config(tmp_path, SourceConfig(form, str(folder)), mask))) == 1


REPLACED = {
    "no table": lambda path, table: path.write_bytes(b"no table"),
    "fewer rows": lambda path, table: pq.write_table(table.slice(0, 1), path),
    "other rows": lambda path, table: pq.write_table(table.take([1, 0]), path),
    "no column of masks": lambda path, table: pq.write_table(table.drop_columns(["mask"]), path),
}


@pytest.mark.parametrize("case", REPLACED)
def test_table_that_is_replaced_after_the_plan_fails_its_samples(here, tmp_path, case):
    path = tmp_path / "in" / "x.parquet"
    path.parent.mkdir()
    table = pa.table({"image": [IMAGE, png(1)], "mask": [MASK, MASK], "key": ["a", "b"]})
    pq.write_table(table, path)
    executor = BeforeWork(lambda: REPLACED[case](path, table))
    job = config(tmp_path, SourceConfig("parquet", str(path), key="key"), MaskConfig("column", column="mask"))
    kind = "BrokenShard" if case == "no table" else "FileChanged"
    assert run(job, executor) == {"a": kind, "b": kind}


@pytest.mark.parametrize(("name", "data"), [("x.parquet", None), ("x.tar.gz", None), ("x.tar.gz", tar(GOOD, True))])
def test_shard_that_is_gone_or_another_after_the_plan_fails_its_samples(here, tmp_path, name, data):
    path = tmp_path / "in" / name
    path.parent.mkdir()
    if name == "x.parquet":
        pq.write_table(pa.table({"image": [IMAGE], "mask": [MASK]}), path)
        source, mask = SourceConfig("parquet", str(path.parent)), MaskConfig("column", column="mask")
    else:
        path.write_bytes(tar(pair("a"), compress=True))
        source, mask = SourceConfig("webdataset", str(path.parent)), MaskConfig("member")
    (path.parent / "note.txt").touch()  # so that the folder is not one that is no longer mounted
    executor = BeforeWork(path.unlink if data is None else lambda: path.write_bytes(data))
    found = run(config(tmp_path, source, mask), executor)
    assert set(found.values()) == {"FileNotFound" if data is None else "FileChanged"}
