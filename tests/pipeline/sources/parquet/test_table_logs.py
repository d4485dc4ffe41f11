"""Tables whose folders hold files of deleted rows are no source, unless their valid files are named."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.job import JobConfig, SourceConfig
from pipeline.errors import ConfigError
from pipeline.sources.parquet.source import ParquetRows
from pipeline.sources.wanted import wanted_by
from pipeline.storage.storage import Storage

LOGS = {
    "Delta Lake": "_delta_log/00000000000000000000.json",
    "Iceberg": "metadata/00000-a.metadata.json",
    "Iceberg of old": "metadata/v1.metadata.json.gz",
    "Hudi": ".hoodie/hoodie.properties",
}
DATA = {
    "Delta Lake": "day=1",
    **dict.fromkeys(("Iceberg", "Iceberg of old"), "data/day=1/hour=2"),
    "Hudi": "day=1/hour=2",
}


def table(folder: Path, kind: str) -> Path:
    for name in ("a", "b"):
        part = folder / DATA[kind] / f"{name}.parquet"
        part.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"image": [b"x"]}), part)
    log = folder / LOGS[kind]
    log.parent.mkdir()
    log.write_text("{}")
    return folder


def found(uri: object, pattern: str = "**/*") -> list[str]:
    job = JobConfig(source=SourceConfig("parquet", str(uri), pattern))
    return [file.key for file in ParquetRows(wanted_by(job), Storage(job.source.uri)).files()]


@pytest.mark.parametrize("kind", LOGS)
@pytest.mark.parametrize("below", [True, False])
@pytest.mark.parametrize("pattern", ["**/*", "**/*.parquet", "**/[ab].parquet"])
def test_table_is_refused_by_its_log(tmp_path, kind, below, pattern):
    folder = table(tmp_path / "x" / "y", kind)
    with pytest.raises(ConfigError, match=f"is an? {kind.removesuffix(' of old')} table.*export it"):
        found(tmp_path if below else folder, pattern)


@pytest.mark.parametrize("kind", LOGS)
def test_part_of_a_table_is_refused_by_the_log_above_it(tmp_path, kind):
    folder = table(tmp_path, kind) / DATA[kind]
    with pytest.raises(ConfigError, match=kind.removesuffix(" of old")):
        found(folder)


@pytest.mark.parametrize("kind", LOGS)
def test_files_that_are_named_are_taken(tmp_path, kind):
    table(tmp_path, kind)
    assert found(tmp_path, DATA[kind] + "/{a,c}.parquet") == [f"{DATA[kind]}/a.parquet"]
    assert found(tmp_path / DATA[kind] / "a.parquet") == ["a.parquet"]


def test_folder_beside_a_table_is_taken(tmp_path):
    table(tmp_path / "table", "Delta Lake")
    (tmp_path / "data" / "metadata").mkdir(parents=True)
    (tmp_path / "metadata").mkdir()
    for note in (tmp_path / "data" / "metadata" / "a.json", tmp_path / "metadata" / "notes.json"):
        note.write_text("{}")
    pq.write_table(pa.table({"image": [b"x"]}), tmp_path / "data" / "a.parquet")
    assert found(tmp_path / "data") == ["a.parquet"]
    assert found(tmp_path, "data/*") == ["data/a.parquet"]


def test_part_of_a_table_in_a_bucket_is_refused(s3_server, tmp_path):
    root = f"s3://bucket/{tmp_path.name}"
    storage = Storage(root, s3_server)
    storage.write("_delta_log/0.json", b"{}")
    storage.write("day=1/a.parquet", b"")
    for uri in (root, f"{root}/day=1/"):
        job = JobConfig(source=SourceConfig("parquet", uri), storage=s3_server)
        with pytest.raises(ConfigError, match=f"{root} is a Delta Lake table"):
            ParquetRows(wanted_by(job), Storage(uri, s3_server)).files()
