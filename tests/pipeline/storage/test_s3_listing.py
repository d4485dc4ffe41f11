"""Listings of buckets: every object once, and large folders at the same time."""

import threading
from collections import Counter
from typing import Any

import pytest
from botocore.utils import parse_timestamp

import pipeline.storage.s3_listing
from pipeline.storage.s3 import parse_time
from pipeline.storage.storage import Storage

FOLDERS, FILES = 8, 140  # more than a page holds


@pytest.fixture(scope="module")
def bucket(tmp_path_factory, s3_server) -> Storage:
    """A prefix with large folders, folders inside one, and files beside them."""
    storage = Storage(f"s3://bucket/{tmp_path_factory.mktemp('listing').name}", s3_server)
    keys = [f"{folder:02}/{file:04}.png" for folder in range(FOLDERS) for file in range(FILES)]
    keys += [f"00/deep/{file}.png" for file in range(30)] + ["00-odd/a.png", "09/é.png", "top.png", "a b/c+d.png"]
    list(storage.in_parallel(lambda key: storage.write(key, b"x"), keys))
    return storage


class Requests:
    """Counts requests for pages, and the threads that make them.

    Args:
        storage: whose client is watched.
        patch: to watch it with.
    """

    def __init__(self, storage: Storage, patch: pytest.MonkeyPatch) -> None:
        self.threads: Counter[str] = Counter()
        self.made: list[dict[str, Any]] = []
        call = storage.filesystem.call_s3

        def watched(method: str, **request: Any) -> Any:
            self.made.append(request)
            self.threads[threading.current_thread().name] += 1
            return call(method, **request)

        patch.setattr(storage.filesystem, "call_s3", watched)


def test_every_object_is_listed_once_by_several_threads(bucket, monkeypatch):
    requests = Requests(bucket, monkeypatch)
    found = [file.key for file in bucket.list_files()]
    assert len(found) == len(set(found)) == FOLDERS * FILES + 34
    assert {"00/deep/7.png", "00-odd/a.png", "09/é.png", "top.png", "a b/c+d.png"} < set(found)
    prefixes = {request["Prefix"].rpartition("/")[0].rpartition("/")[2] for request in requests.made}
    assert {f"{folder:02}" for folder in range(FOLDERS)} < prefixes and len(requests.threads) > 2


def test_times_of_answers_are_those_that_botocore_parses(bucket):
    answer = bucket.filesystem.call_s3("list_objects_v2", Bucket="bucket", Prefix=f"{bucket.root[7:]}/09/")
    (changed,) = (item["LastModified"] for item in answer["Contents"])
    assert (changed, str(changed)) == (parse_timestamp(changed.isoformat()), str(parse_timestamp(changed.isoformat())))
    for text in ("2026-01-01T10:00:00.000Z", "2026-01-01T10:00:00Z", "Thu, 01 Jan 2026 10:00:00 GMT", "1767261600"):
        assert str(parse_time(text)) == str(parse_timestamp(text))


def test_flat_folders_and_what_fits_into_a_page_take_one_thread(bucket, monkeypatch):
    requests = Requests(bucket, monkeypatch)
    assert len(list(bucket.list_files("01"))) == FILES and len(requests.made) == 1
    monkeypatch.setattr(pipeline.storage.s3_listing, "MAX_FOLDERS_IN_PAGE", 3)
    requests.made.clear()
    assert len(list(bucket.list_files())) == FOLDERS * FILES + 34
    assert len(requests.made) == 2 and len(requests.threads) == 1


def test_listing_that_is_not_read_to_its_end_makes_one_request(bucket, monkeypatch):
    requests = Requests(bucket, monkeypatch)
    assert next(iter(bucket.list_files()))
    assert len(requests.made) == 1


def test_fault_in_one_folder_ends_the_listing(bucket, monkeypatch):
    call = bucket.filesystem.call_s3

    def refused(method: str, **request: Any) -> Any:
        if request["Prefix"].endswith("/05/"):
            raise PermissionError("no")
        return call(method, **request)

    monkeypatch.setattr(bucket.filesystem, "call_s3", refused)
    with pytest.raises(PermissionError, match="no"):
        list(bucket.list_files())
    assert not [thread for thread in threading.enumerate() if "_run" in thread.name]
