import os
import subprocess
import sys

import pyarrow as pa
import pytest

import pipeline.catalog
from pipeline.catalog import PREFIX, Catalog, in_batches

SCHEMA = pa.schema([("name", pa.string()), ("number", pa.int64())])


@pytest.mark.parametrize("rows", [1, 99_999, 100_000, 1 << 62])
def test_stream_yields_every_row_once_in_tables_of_the_asked_length(rows):
    with Catalog() as catalog:
        catalog.create("things", SCHEMA, in_batches(((f"{n:06}", n) for n in reversed(range(100_001))), SCHEMA))
        lengths, found = [], []
        for table in catalog.stream("SELECT * FROM things WHERE number < 100001 ORDER BY name", rows):
            lengths.append(table.num_rows)
            found += table["number"].to_pylist()
            if rows == 1 and len(lengths) == 3:
                break
    assert found == list(range(len(found)))
    if rows > 1:
        assert len(found) == 100_001 and all(length == rows for length in lengths[:-1])


def test_statements_may_run_while_a_result_is_read():
    with Catalog() as catalog:
        catalog.create("things", SCHEMA, in_batches([("a", 1), ("b", 2)], SCHEMA))
        for _ in catalog.stream("SELECT * FROM things", 1):
            assert catalog.run("SELECT count(*) FROM things WHERE number > $least", {"least": 1}) == [(1,)]


def test_no_rows_make_an_empty_table():
    with Catalog() as catalog:
        catalog.create("things", SCHEMA, in_batches([], SCHEMA))
        assert catalog.run("SELECT count(*) FROM things") == [(0,)]
        assert list(catalog.stream("SELECT * FROM things", 10)) == []


def test_folder_of_a_killed_process_is_deleted_and_that_of_a_living_one_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline.catalog.tempfile, "gettempdir", lambda: str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for number in (dead.pid, os.getpid()):
        (tmp_path / f"{PREFIX}{number}-x").mkdir()
    with Catalog():
        assert sorted(path.name for path in tmp_path.glob("*-x")) == [f"{PREFIX}{os.getpid()}-x"]
