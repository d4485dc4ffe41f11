from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.storage.storage import Storage
from pipeline.verdicts.files import (
    GROUP_ROWS,
    SCHEMA,
    create_file,
    erase,
    find_keys,
    key_in,
    load_reviews,
    read_mask_of,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)


def reviews(*names: str, **columns) -> pa.Table:
    masks = {name: b"mask of " + name.encode() for name in names}
    rows = [{"sample_id": name, "verdict": "bad", "imported_at": AT, "corrected_mask": masks[name]} for name in names]
    return pa.Table.from_pylist([{**row, **columns} for row in rows], SCHEMA)


@pytest.fixture
def sink(tmp_path) -> Storage:
    return Storage(str(tmp_path))


def names_in(sink: Storage) -> list[str]:
    with Database() as database:
        load_reviews(sink, database)
        return [name for (name,) in database.run("SELECT sample_id FROM reviews ORDER BY ALL")]


def test_import_is_stored_once(sink):
    key = create_file(sink, reviews("a"), b"one")
    assert create_file(sink, reviews("b"), b"one") is None and find_keys(sink) == [key] and names_in(sink) == ["a"]
    assert create_file(sink, reviews("a"), b"two") and names_in(sink) == ["a", "a"]


def test_every_mask_is_found_in_a_file_of_many(sink):
    names = [f"{number:04}" for number in range(3 * GROUP_ROWS + 1)] + ["é", "z" * 10_000]  # without statistics
    key = create_file(sink, reviews(*names), b"")
    assert all(read_mask_of(sink, key, name) == b"mask of " + name.encode() for name in [*names[::20], *names[-3:]])
    with pytest.raises(LookupError, match="holds no mask of 00015"):
        read_mask_of(sink, key, "00015")


def test_forgotten_samples_leave_no_trace_and_other_files_and_names_stay(sink):
    first, second = create_file(sink, reviews("a", "b"), b"1"), create_file(sink, reviews("c"), b"2")
    kept = sink.read(second)
    assert erase(sink, ["b", "x"]) == 1 and sorted(find_keys(sink)) == sorted([first, second])
    assert names_in(sink) == ["a", "c"] and sink.read(second) == kept and read_mask_of(sink, first, "a") == b"mask of a"
    assert erase(sink, ["b"]) == 0


def test_sink_without_reviews_has_none(sink):
    assert names_in(sink) == [] and erase(sink, ["a"]) == 0


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-10], lambda data: b"", lambda data: data[:40] + b"?" + data[41:]]
)
def test_damaged_file_is_told_with_its_remedy(sink, damage):
    key = create_file(sink, reviews("a", note="one" * 100), b"")
    Path(sink.path(key)).write_bytes(damage(sink.read(key)))
    with pytest.raises(ConfigError, match=rf"{key} is damaged .*import its reviews again"):
        names_in(sink)


def test_other_files_in_the_folder_are_not_read(sink, tmp_path):
    key = create_file(sink, reviews("a"), b"")
    (tmp_path / "reviews" / "notes.txt").write_text("x")
    (tmp_path / "reviews" / "a.parquet").write_text("x")
    assert find_keys(sink) == [key]


def test_key_is_found_in_uris_of_files_of_reviews_only():
    key = f"reviews/{'0a' * 16}.parquet"
    assert key_in(f"s3://bucket/out/{key}") == key_in(f"/moved/{key}") == key_in(key) == key
    assert key_in(None) is None and key_in("s3://bucket/masks/a.png") is None and key_in(f"/out/my{key}") is None


def test_reviews_are_in_buckets_as_on_disks(s3_server):
    sink = Storage("s3://bucket/reviewed", s3_server)
    assert names_in(sink) == []
    key = create_file(sink, reviews("a", "b"), b"one")
    assert create_file(sink, reviews("c"), b"one") is None and names_in(sink) == ["a", "b"]
    assert read_mask_of(sink, key, "b") == b"mask of b" and erase(sink, ["a"]) == 1 and names_in(sink) == ["b"]
    assert key_in(sink.uri(key)) == key
