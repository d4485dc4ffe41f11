import json
import os
import subprocess
import sys
import threading
import time

import pytest

from pipeline.errors import ConfigError
from pipeline.manifest.lease import KEY, Lease, LeaseHeldError
from pipeline.storage.storage import Storage


@pytest.fixture(params=["local", "s3"])
def storage(request, tmp_path):
    if request.param == "local":
        return Storage(str(tmp_path))
    return Storage(f"s3://bucket/{tmp_path.name}", request.getfixturevalue("s3_server"))


def lease(storage, run_id):
    return Lease(storage, run_id, renew_s=0.2, silence_s=1.5)


def test_second_run_learns_who_holds_the_sink(storage):
    with lease(storage, "first"):
        held = pytest.raises(LeaseHeldError, match=rf"held by run first \(process {os.getpid()}")
        with held, lease(storage, "second"):
            pass
    with lease(storage, "third"):
        pass
    assert list(storage.list_files()) == []


def test_storage_that_overwrites_what_exists_is_refused(storage, monkeypatch):
    monkeypatch.setattr(storage, "create", storage.write)
    with pytest.raises(ConfigError, match="without conditional PUT"), lease(storage, "first"):
        pass
    assert list(storage.list_files()) == []


def test_storage_that_is_away_at_the_end_hides_nothing(storage, monkeypatch):
    def away(key: str) -> bytes:
        raise OSError("no answer")

    with pytest.raises(KeyError, match="what went wrong"), lease(storage, "first"):
        monkeypatch.setattr(storage, "read", away)
        raise KeyError("what went wrong")


def test_silent_holder_elsewhere_is_taken_over(storage):
    storage.create(KEY, json.dumps({"run_id": "gone", "place": "far/away", "pid": 1, "renewals": 3}).encode())
    started = time.monotonic()
    with lease(storage, "next"):
        assert json.loads(storage.read(KEY))["run_id"] == "next"
    assert time.monotonic() - started >= 1.5


@pytest.mark.parametrize(
    "content", [b"", b'{"run_id": "torn', b"\xff\x00", b"[]", b'{"run_id": 7, "place": "x", "pid": 1}']
)
def test_lease_that_cannot_be_read_is_a_silent_holder(tmp_path, content):
    storage = Storage(str(tmp_path))
    storage.write(KEY, content)
    started = time.monotonic()
    with lease(storage, "next"):
        assert json.loads(storage.read(KEY))["run_id"] == "next"
    assert time.monotonic() - started >= 1.5


def test_lease_that_cannot_be_read_and_changes_is_held(tmp_path):
    storage, stopped = Storage(str(tmp_path)), threading.Event()
    storage.write(KEY, b"0")

    def keep_changing():
        number = 0
        while not stopped.wait(0.1):
            storage.write(KEY, str(number := number + 1).encode())

    writer = threading.Thread(target=keep_changing)
    writer.start()
    try:
        with pytest.raises(LeaseHeldError, match=r"is held by run \?"), lease(storage, "next"):
            pass
    finally:
        stopped.set()
        writer.join()


def test_dead_holder_on_this_machine_is_taken_over_at_once(storage):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with lease(storage, "dead") as held:
        content = {**held.holder, "pid": process.pid}
    storage.create(KEY, json.dumps(content).encode())
    started = time.monotonic()
    with lease(storage, "next"):
        pass
    assert time.monotonic() - started < 1


def test_holder_on_another_machine_of_the_same_name_is_not_taken_for_dead(storage):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with lease(storage, "far") as held:
        name, namespace, _ = held.holder["place"].split("/")
        content = {**held.holder, "pid": process.pid, "place": f"{name}/{namespace}/started-elsewhere"}
    storage.create(KEY, json.dumps(content).encode())
    started = time.monotonic()
    with lease(storage, "next"):
        pass
    assert time.monotonic() - started >= 1.5


def test_run_that_lost_its_lease_leaves_the_new_holder_alone(storage):
    with lease(storage, "slow"):
        storage.write(KEY, json.dumps({"run_id": "new", "place": "x", "pid": 1, "renewals": 0}).encode())
        time.sleep(0.6)
    assert json.loads(storage.read(KEY))["run_id"] == "new"
