import fcntl
import subprocess
import sys
import tempfile

import pyarrow as pa
import pytest

import pipeline.database
from pipeline.database import Database, in_batches
from tests.conftest import ROOT

SCHEMA = pa.schema([("name", pa.string()), ("number", pa.int64())])


@pytest.mark.parametrize("rows", [1, 99_999, 100_000, 1 << 62])
def test_stream_yields_every_row_once_in_tables_of_the_asked_length(rows):
    with Database() as database:
        database.create("things", SCHEMA, in_batches(((f"{n:06}", n) for n in reversed(range(100_001))), SCHEMA))
        lengths, found = [], []
        for table in database.stream("SELECT * FROM things WHERE number < 100001 ORDER BY name", rows):
            lengths.append(table.num_rows)
            found += table["number"].to_pylist()
            if rows == 1 and len(lengths) == 3:
                break
    assert found == list(range(len(found)))
    if rows > 1:
        assert len(found) == 100_001 and all(length == rows for length in lengths[:-1])


def test_statements_may_run_while_a_result_is_read():
    with Database() as database:
        database.create("things", SCHEMA, in_batches([("a", 1), ("b", 2)], SCHEMA))
        for _ in database.stream("SELECT * FROM things", 1):
            assert database.run("SELECT count(*) FROM things WHERE number > $least", {"least": 1}) == [(1,)]


def test_no_rows_make_an_empty_table():
    with Database() as database:
        database.create("things", SCHEMA, in_batches([], SCHEMA))
        assert database.run("SELECT count(*) FROM things") == [(0,)]
        assert list(database.stream("SELECT * FROM things", 10)) == []


def test_folder_of_a_killed_process_is_deleted_and_those_in_use_are_not(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(pipeline.database.tempfile, "gettempdir", lambda: str(tmp_path))
    waiting = "from pipeline.database import Database; held = Database(); print(flush=True); input()"
    others = [subprocess.Popen([sys.executable, "-c", waiting], stdin=-1, stdout=-1, cwd=ROOT) for _ in range(2)]
    for other in others:
        other.stdout.readline()
    assert len(list(tmp_path.iterdir())) == 2
    others[0].kill()
    others[0].wait()
    with Database(), Database():
        assert len(list(tmp_path.iterdir())) == 3  # without that of the killed one
    others[1].communicate(b"\n")
    assert others[1].returncode == 0 and list(tmp_path.iterdir()) == []


def test_disk_without_locks_will_do(monkeypatch, tmp_path):
    def refuse(*_):
        raise OSError("Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # out of sight of processes that have locks
    with Database() as first, Database() as second:
        for database in (first, second):
            database.create("things", SCHEMA, [])
