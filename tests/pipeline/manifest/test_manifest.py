import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline.manifest.log
from pipeline.manifest.log import Manifest, ManifestConflictError
from pipeline.records import FAILED, MANIFEST_SCHEMA, OK, Record, to_table
from pipeline.storage.storage import Storage


@pytest.fixture(params=["local", "s3"])
def storage(request, tmp_path):
    if request.param == "local":
        return Storage(str(tmp_path))
    return Storage(f"s3://bucket/{tmp_path.name}", request.getfixturevalue("s3_server"))


def rows(*names: str, status: str = OK) -> pa.Table:
    return to_table([Record(sample_id=name, status=status) for name in names])


def statuses(manifest: Manifest) -> dict[str, str]:
    table = manifest.load(["sample_id", "status"])
    assert table.num_rows == len(set(table["sample_id"].to_pylist()))
    return dict(zip(table["sample_id"].to_pylist(), table["status"].to_pylist(), strict=True))


def test_rows_count_once_append_returns(storage):
    manifest = Manifest(storage)
    assert manifest.load().num_rows == 0
    manifest.append(rows("a", "b"))
    manifest.append(rows("c", status=FAILED))
    assert statuses(Manifest(storage)) == {"a": OK, "b": OK, "c": FAILED}


def test_part_of_an_earlier_version_lacks_columns_and_is_read_and_replaced(storage):
    earlier = rows("a", "b").drop_columns(["suspicious"])
    sink = pa.BufferOutputStream()
    pq.write_table(earlier, sink)
    storage.create("manifest/part-00000000.parquet", sink.getvalue().to_pybytes())
    manifest = Manifest(storage)
    assert manifest.load()["suspicious"].to_pylist() == [None, None]
    manifest.append(to_table([Record(sample_id="b", status=OK, suspicious="flat")]))
    manifest.load(["sample_id"])
    manifest.compact()
    table = Manifest(storage).load().sort_by("sample_id")
    assert table["suspicious"].to_pylist() == [None, "flat"]
    assert table.schema.remove_metadata().equals(MANIFEST_SCHEMA)


def test_parts_of_two_versions_become_those_of_one(storage):
    sink = pa.BufferOutputStream()
    pq.write_table(rows("a").drop_columns(["suspicious"]), sink)
    storage.create("manifest/part-00000000.parquet", sink.getvalue().to_pybytes())
    manifest = Manifest(storage)
    manifest.load(["sample_id"])
    manifest.compact()
    assert len(list(storage.list_files("manifest"))) == 1  # nothing to do
    manifest.append(rows("b"))
    manifest.compact()
    for file in storage.list_files("manifest"):
        assert pq.read_schema(pa.BufferReader(storage.read(file.key))).names == MANIFEST_SCHEMA.names
    assert statuses(Manifest(storage)) == {"a": OK, "b": OK}


def test_second_writer_learns_of_the_first(storage):
    first, second = Manifest(storage), Manifest(storage)
    first.load(), second.load()
    first.append(rows("a"))
    with pytest.raises(ManifestConflictError, match="another run is writing"):
        second.append(rows("a"))
    assert statuses(Manifest(storage)) == {"a": OK}


def test_lost_answer_of_an_own_commit_is_no_conflict(storage, monkeypatch):
    manifest = Manifest(storage)
    manifest.load()
    create = storage.create

    def create_but_lose_the_answer(key, data):
        create(key, data)
        create(key, data)  # what a retrying client does

    monkeypatch.setattr(storage, "create", create_but_lose_the_answer)
    manifest.append(rows("a"))
    manifest.append(rows("b"))
    assert statuses(Manifest(storage)) == {"a": OK, "b": OK}


def test_later_row_replaces_an_earlier_one_for_every_reader(tmp_path):
    manifest = Manifest(Storage(str(tmp_path)))
    manifest.load()
    manifest.append(rows("a", "b", status=FAILED))
    manifest.append(rows("a"))
    assert statuses(manifest) == {"a": OK, "b": FAILED}
    manifest.compact()
    plain = ds.dataset(tmp_path / "manifest").to_table()
    assert plain.schema.names == MANIFEST_SCHEMA.names
    assert sorted(zip(plain["sample_id"].to_pylist(), plain["status"].to_pylist(), strict=True)) == [
        ("a", OK),
        ("b", FAILED),
    ]


def test_writer_that_slept_through_a_snapshot_learns_of_it(storage):
    sleeper = Manifest(storage)
    sleeper.load()
    sleeper.append(rows("a"))
    other = Manifest(storage)
    other.load()
    for name in "bcd":
        other.append(rows(name))
    other.compact(max_parts=1)
    with pytest.raises(ManifestConflictError):
        sleeper.append(rows("e"))  # its number is free again, but no longer the last
    assert statuses(Manifest(storage)) == dict.fromkeys("abcd", OK)
    assert len(list(storage.list_files("manifest"))) == 1


def test_part_that_another_run_has_read_is_not_withdrawn(storage, monkeypatch):
    sleeper = Manifest(storage)
    sleeper.load()
    create = storage.create

    def create_and_sleep(key, data):
        create(key, data)
        monkeypatch.undo()
        other = Manifest(storage)
        assert other.load(["sample_id"])["sample_id"].to_pylist() == ["a"]
        other.append(rows("b"))

    monkeypatch.setattr(storage, "create", create_and_sleep)
    with pytest.raises(ManifestConflictError):
        sleeper.append(rows("a"))
    assert statuses(Manifest(storage)) == {"a": OK, "b": OK}


def test_load_survives_a_compaction_by_another_run(storage, monkeypatch):
    manifest = Manifest(storage)
    manifest.load()
    for name in "abc":
        manifest.append(rows(name))
    open_part = storage.open

    def compact_then_open(key):
        monkeypatch.undo()
        manifest.compact(max_parts=1)
        return open_part(key)

    monkeypatch.setattr(storage, "open", compact_then_open)
    assert statuses(Manifest(storage)) == dict.fromkeys("abc", OK)


def test_many_small_parts_become_one(storage):
    manifest = Manifest(storage)
    manifest.load()
    for index in range(20):
        manifest.append(rows(f"{index:02}"))
    manifest.compact(max_parts=16)
    assert len(list(storage.list_files("manifest"))) == 1
    manifest.append(rows("20"))
    assert len(statuses(Manifest(storage))) == 21


def test_manifest_that_nothing_was_added_to_is_read_only_once(storage, monkeypatch):
    manifest = Manifest(storage)
    manifest.load()
    for name in "abc":
        manifest.append(rows(name))
    again = Manifest(storage)
    again.load()
    monkeypatch.setattr(storage, "open", None)
    again.compact()


def test_crash_between_snapshot_and_clean_up_loses_and_repeats_nothing(storage, monkeypatch):
    manifest = Manifest(storage)
    manifest.load()
    manifest.append(rows("a", "b", status=FAILED))
    manifest.append(rows("a"))
    monkeypatch.setattr(storage, "delete", lambda key: None)
    manifest.compact()
    monkeypatch.undo()
    assert len(list(storage.list_files("manifest"))) == 3
    after = Manifest(storage)
    assert statuses(after) == {"a": OK, "b": FAILED}
    after.compact()
    assert len(list(storage.list_files("manifest"))) == 1
    assert statuses(Manifest(storage)) == {"a": OK, "b": FAILED}


def test_compaction_that_dies_before_its_last_part_changes_no_row(storage, monkeypatch):
    monkeypatch.setattr(pipeline.manifest.log, "SNAPSHOT_ROWS", 2)
    manifest = Manifest(storage)
    manifest.load()
    for names in ("abc", "def", "ad", "g"):
        manifest.append(rows(*names))
    monkeypatch.setattr(storage, "delete", lambda key: None)
    create, calls = storage.create, []

    def die_before_the_last(key, data):
        calls.append(key)
        if len(calls) == 2:
            raise KeyboardInterrupt
        create(key, data)

    monkeypatch.setattr(storage, "create", die_before_the_last)
    with pytest.raises(KeyboardInterrupt):
        manifest.compact()
    monkeypatch.undo()
    after = Manifest(storage)
    assert statuses(after) == dict.fromkeys("abcdefg", OK)
    assert len(list(storage.list_files("manifest"))) == 5
    after.compact()
    assert statuses(Manifest(storage)) == dict.fromkeys("abcdefg", OK)
    parts = [pq.read_table(pa.BufferReader(storage.read(file.key))) for file in storage.list_files("manifest")]
    assert sum(part.num_rows for part in parts) == 7


actions = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.sampled_from("abcdefg"), unique=True), st.sampled_from([OK, FAILED])),
        st.tuples(st.just("compact"), st.integers(1, 3), st.none()),
        st.tuples(st.just("reopen"), st.none(), st.none()),
    ),
    max_size=12,
)


@given(actions=actions)
@settings(deadline=None, max_examples=15)
def test_manifest_holds_the_last_row_of_each_sample(actions, tmp_path_factory):
    storage = Storage(str(tmp_path_factory.mktemp("manifest")))
    manifest, expected = Manifest(storage), {}
    manifest.load()
    for action, argument, status in actions:
        if action == "append":
            manifest.append(rows(*argument, status=status))
            expected |= dict.fromkeys(argument, status)
        elif action == "compact":
            manifest.compact(max_parts=argument)
        else:
            manifest = Manifest(storage)
            manifest.load()
        assert statuses(Manifest(storage)) == expected
