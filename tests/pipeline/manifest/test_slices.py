"""Logs of slices beside the first one: one current row per sample at any moment, wherever a writer is killed."""

import hashlib

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline.manifest.log
from pipeline.config.slice import Slice
from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.manifest.log import Manifest, ManifestConflictError
from pipeline.records import FAILED, OK
from pipeline.storage.local import StagedFile
from pipeline.storage.storage import Storage
from tests.pipeline.manifest.test_manifest import rows, statuses, storage  # noqa: F401
from tests.pipeline.scenarios.test_kill_points import Killed, Scythe

NAMES = "abcdefghijkl"


def opened(storage: Storage, own_slice: str | None = None) -> Manifest:  # noqa: F811
    manifest = Manifest(storage, own_slice=own_slice and Slice.parse(own_slice))
    manifest.load(["sample_id"])
    return manifest


def plain_rows(storage: Storage) -> list[str]:  # noqa: F811
    """Names in all parts, as other readers see them."""
    parts = [pq.read_table(storage.open(file.key)) for file in storage.list_files("manifest")]
    return [name for part in parts for name in part["sample_id"].to_pylist()]


@pytest.mark.parametrize("text", ["8/8", "-1/8", "0/0", "2", "a/b", "1/2/3", "0/100000", ""])
def test_slice_that_does_not_exist_is_refused(text):
    with pytest.raises(ConfigError, match=r"run.slice must be null or INDEX/COUNT"):
        Slice.parse(text)


def test_every_name_is_in_one_slice_as_its_hash_says(tmp_path):
    names = [f"{index}.png" for index in range(1000)] + ["ä/ö.png", "", "a b#7"]
    slices = [Slice.parse(f"{index}/7") for index in range(7)]
    for name in names:
        number = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 7
        assert [found.index for found in slices if found.holds(name)] == [number]
    with Database() as database:
        database.run("CREATE TABLE names AS SELECT unnest($names::VARCHAR[]) AS name", {"names": names})
        for own in slices:
            found = database.run(f"SELECT name FROM names WHERE {own.holds_sql('name')}")
            assert {name for (name,) in found} == {name for name in names if own.holds(name)}
            assert 100 < len(found) < 200  # evenly


def test_drivers_of_slices_write_at_once_and_all_is_read_as_one(storage):  # noqa: F811
    opened(storage).append(rows("a", "b", "c", status=FAILED))
    drivers = [opened(storage, f"{index}/3") for index in range(3)]
    for name, driver in zip("abd", drivers, strict=True):
        driver.append(rows(name))
        driver.append(rows(f"{name}{name}"))
    expected = {"a": OK, "b": OK, "c": FAILED, "d": OK, "aa": OK, "bb": OK, "dd": OK}
    assert statuses(Manifest(storage)) == expected
    whole = opened(storage)
    assert not whole.is_tidy()
    whole.compact()
    assert whole.is_tidy() and statuses(Manifest(storage)) == expected
    assert sorted(plain_rows(storage)) == sorted(expected)


def test_second_driver_of_a_slice_learns_of_the_first(storage):  # noqa: F811
    first, second = opened(storage, "0/2"), opened(storage, "0/2")
    first.append(rows("a"))
    with pytest.raises(ManifestConflictError, match="another run is writing"):
        second.append(rows("a"))
    assert statuses(Manifest(storage)) == {"a": OK}


@pytest.mark.parametrize("is_compacted", [False, True])
def test_driver_that_slept_while_its_slice_was_adopted_commits_nothing(storage, is_compacted):  # noqa: F811
    sleeper = opened(storage, "1/2")
    sleeper.append(rows("a", status=FAILED))
    whole = opened(storage)
    whole.append(rows("a"))
    if is_compacted:
        whole.compact()
    with pytest.raises(ManifestConflictError, match="another run is writing"):
        sleeper.append(rows("a", status=FAILED))
    assert statuses(Manifest(storage)) == {"a": OK}
    again = opened(storage, "1/2")
    again.append(rows("b"))
    assert statuses(Manifest(storage)) == {"a": OK, "b": OK}
    opened(storage).compact()
    assert sorted(plain_rows(storage)) == ["a", "b"]


def test_holder_of_the_sink_that_slept_through_commits_of_slices_replaces_none(storage):  # noqa: F811
    sleeper = opened(storage)
    opened(storage, "0/2").append(rows("a"))
    with pytest.raises(ManifestConflictError):
        sleeper.append(rows("a", "b", status=FAILED))
    assert statuses(Manifest(storage)) == {"a": OK, "b": FAILED}


def test_driver_that_slept_before_its_first_commit_replaces_no_later_row(storage):  # noqa: F811
    sleeper, other = opened(storage, "1/2"), opened(storage, "0/2")
    opened(storage).append(rows("a"))
    for driver in (sleeper, other):
        with pytest.raises(ManifestConflictError):
            driver.append(rows("a", status=FAILED))
    assert statuses(Manifest(storage)) == {"a": OK}


def test_driver_that_slept_between_two_commits_learns_of_a_run_that_has_only_looked(storage):  # noqa: F811
    sleeper = opened(storage, "1/2")
    create = storage.create

    def create_and_sleep(key, data):
        create(key, data)
        storage.create = create
        opened(storage).append(rows("a"))  # between the first mark of the driver and its rows

    storage.create = create_and_sleep
    with pytest.raises(ManifestConflictError):
        sleeper.append(rows("a", status=FAILED))
    assert statuses(Manifest(storage)) == {"a": OK}


def test_commit_that_the_holder_of_the_sink_has_not_read_is_a_conflict_for_it(storage):  # noqa: F811
    driver = opened(storage, "0/2")
    driver.append(rows("a"))
    whole = opened(storage)
    driver.append(rows("b"))
    with pytest.raises(ManifestConflictError):
        whole.append(rows("c"))
    assert statuses(Manifest(storage)) == {"a": OK, "b": OK}


def test_drivers_of_another_number_of_slices_adopt_what_was_left_and_replace_it(storage):  # noqa: F811
    for index in range(2):
        opened(storage, f"{index}/2").append(rows(*"abcd"[2 * index :][:2], status=FAILED))
    drivers = [opened(storage, f"{index}/3") for index in range(3)]  # all see what was left, and adopt at once
    for name, driver in zip("abd", drivers, strict=True):
        driver.append(rows(name))
    expected = {"a": OK, "b": OK, "c": FAILED, "d": OK}
    assert statuses(Manifest(storage)) == expected
    opened(storage).compact()
    assert sorted(plain_rows(storage)) == sorted(expected)


def test_part_of_an_adopted_slice_that_is_lost_costs_only_its_rows(storage):  # noqa: F811
    driver = opened(storage, "0/2")
    driver.append(rows("a"))
    driver.append(rows("b"))
    opened(storage).append(rows("c"))
    storage.delete("manifest/part-0-of-2-00000001.parquet")
    assert statuses(Manifest(storage)) == {"b": OK, "c": OK}


def test_compaction_keeps_large_parts_that_hold_no_replaced_row(storage, monkeypatch):  # noqa: F811
    monkeypatch.setattr(pipeline.manifest.log, "SNAPSHOT_ROWS", 4)
    manifest = opened(storage)
    for names in ("abc", "def", "ghi"):
        manifest.append(rows(*names))
    manifest.append(rows("e", status=FAILED))
    manifest.compact()
    keys = {file.key[-12:-8] for file in storage.list_files("manifest")}
    assert {"0000", "0002"} < keys and not {"0001", "0003"} & keys
    expected = dict.fromkeys("abcdfghi", OK) | {"e": FAILED}
    assert statuses(Manifest(storage)) == expected
    manifest.append(rows("a", "j"))
    manifest.compact()
    keys = {file.key[-12:-8] for file in storage.list_files("manifest")}
    assert "0002" in keys and "0000" not in keys
    assert statuses(Manifest(storage)) == expected | {"j": OK}
    assert sorted(plain_rows(storage)) == list("abcdefghij")


def test_snapshot_of_an_earlier_version_replaces_all_before_it(storage):  # noqa: F811
    manifest = opened(storage)
    manifest.append(rows("a", status=FAILED))
    manifest.append(rows("b"))
    manifest.append(rows("a"), {b"moebius.snapshot": b"1"})
    assert statuses(Manifest(storage)) == {"a": OK, "b": OK}  # not complete
    manifest.append(rows("c"), {b"moebius.snapshot": b"1", b"moebius.snapshot-complete": b"1"})
    assert statuses(Manifest(storage)) == {"a": OK, "c": OK}
    opened(storage).compact()
    assert sorted(plain_rows(storage)) == ["a", "c"]


writers = st.sampled_from([None, "0/2", "1/2", "0/3", "1/3", "2/3"])
steps = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "append", "compact", "remove"]),
        writers,
        st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=5),
        st.sampled_from([OK, FAILED]),
        st.one_of(st.none(), st.tuples(st.integers(0, 8), st.booleans())),
    ),
    max_size=10,
)


@given(steps=steps)
@settings(deadline=None, max_examples=15)
def test_one_current_row_per_sample_wherever_writers_of_slices_are_killed(steps, tmp_path_factory):
    storage = Storage(str(tmp_path_factory.mktemp("manifest")))  # noqa: F811
    expected: dict[str, str] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.manifest.log, "SNAPSHOT_ROWS", 4)
        for action, writer, names, status, stroke in steps:
            names = [name for name in names if writer is None or Slice.parse(writer).holds(name)]
            after = expected | dict.fromkeys(names, status) if action == "append" else expected
            if action == "remove":
                after = {name: found for name, found in expected.items() if name not in names}
            with pytest.MonkeyPatch.context() as deadly:
                scythe = Scythe([] if stroke is None else [stroke])
                for owner, method in ((StagedFile, "place"), (Storage, "delete")):
                    deadly.setattr(owner, method, scythe.around(getattr(owner, method)))
                try:
                    manifest = opened(storage, writer if action == "append" else None)
                    if action == "append":
                        manifest.append(rows(*names, status=status))
                    elif action == "compact":
                        manifest.compact(max_parts=2)
                    else:
                        manifest.remove(names)
                    expected = after
                except Killed:
                    pass
            found = statuses(Manifest(storage))
            assert found in (expected, after)
            expected = found
    opened(storage).compact()
    assert statuses(Manifest(storage)) == expected
    assert sorted(plain_rows(storage)) == sorted(expected)
