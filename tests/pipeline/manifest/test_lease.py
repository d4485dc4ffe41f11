import json
import os
import subprocess
import sys
import threading
import time

import pytest

from pipeline.config.slice import Slice
from pipeline.errors import ConfigError
from pipeline.faults.sink_holder import SinkTakenOver
from pipeline.manifest.lease import KEY, Lease, LeaseHeldError
from pipeline.storage.storage import Storage


@pytest.fixture(params=["local", "s3"])
def storage(request, tmp_path):
    if request.param == "local":
        return Storage(str(tmp_path))
    return Storage(f"s3://bucket/{tmp_path.name}", request.getfixturevalue("s3_server"))


def lease(storage, run_id, own_slice=None, is_brief=False):
    return Lease(storage, run_id, own_slice and Slice.parse(own_slice), is_brief, renew_s=0.2, silence_s=1.5)


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


def test_drivers_of_slices_hold_a_sink_at_once_and_leave_nothing(storage):
    with lease(storage, "a", "0/3") as first, lease(storage, "b", "1/3"), lease(storage, "c", "2/3") as third:
        first.check()
        third.check()
        first.epoch.check()
        with pytest.raises(LeaseHeldError, match=r"^slice 1/3 of .* is held by run b .*; wait for it or stop it"):
            lease(storage, "d", "1/3").__enter__()
        first.check()
    assert list(storage.list_files()) == []


@pytest.mark.parametrize(
    ("holder", "other", "message"),
    [
        ("1/3", None, r"^slice 1/3 of .* is held by run first .*; this needs the whole sink: wait for the drivers"),
        (None, "1/3", r"^[^ ]* is held by run first .*; wait for it or stop it"),
        ("1/3", "1/2", r"^slice 1/3 of .* is held by run first .*; slice 1/2 is of another number of slices"),
    ],
)
def test_holders_that_exclude_each_other_are_named(storage, holder, other, message):
    with lease(storage, "first", holder) as held:
        with pytest.raises(LeaseHeldError, match=message):
            lease(storage, "second", other).__enter__()
        held.check()
        if holder:
            with pytest.raises(LeaseHeldError, match=r"^slice 1/3 of"):
                lease(storage, "looks").check_free()
    assert list(storage.list_files()) == []
    with lease(storage, "second", other):
        pass


@pytest.mark.parametrize(("holder", "other"), [("1/3", None), (None, "1/3"), ("1/3", "1/2"), ("1/3", "1/3")])
def test_dead_holder_of_any_kind_is_taken_over_and_its_workers_store_nothing(storage, holder, other):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    dead = lease(storage, "dead", holder)
    dead.holder["pid"] = process.pid
    storage.create(dead.key, dead._content())
    dead.epoch.begin()
    with lease(storage, "next", other) as taken:
        taken.check()
        with pytest.raises(SinkTakenOver):
            dead.epoch.check()
    assert list(storage.list_files()) == []


def test_driver_of_a_slice_waits_while_the_last_one_of_others_cleans_up(storage):
    entered = threading.Event()

    def enter():
        with lease(storage, "driver", "0/2"):
            entered.set()

    with lease(storage, "cleaner", is_brief=True):
        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(1.0)
    assert entered.wait(5.0)
    thread.join()


def test_only_the_last_driver_holds_the_whole_sink_at_its_end(storage):
    with lease(storage, "a", "0/2") as first, lease(storage, "b", "1/2") as second:
        with first.alone() as whole:
            assert whole is None
        second.check()
        with second.alone() as whole:
            whole.check()
            assert json.loads(storage.read(KEY))["run_id"] == "b"
    assert list(storage.list_files()) == []
    with lease(storage, "c") as held, held.alone() as whole:
        assert whole is held


def test_of_drivers_that_end_at_once_one_holds_the_whole_sink(storage):
    held = [lease(storage, f"run-{index}", f"{index}/4").__enter__() for index in range(4)]
    barrier, found = threading.Barrier(4), []

    def end(driver):
        barrier.wait()
        with driver.alone() as whole:
            found.append(whole is not None)
            time.sleep(0.5)

    threads = [threading.Thread(target=end, args=(driver,)) for driver in held]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and any(found)
    assert list(storage.list_files()) == []


def test_run_over_the_whole_sink_that_begins_while_the_last_driver_ends_stops_no_clean_up(storage):
    with lease(storage, "driver", "0/2") as driver:
        whole_run = lease(storage, "whole")
        whole_run._take()  # it looks for drivers now, and will find one
        refused = threading.Timer(1.0, storage.delete, [KEY])
        refused.start()
        with driver.alone() as whole:
            whole.check()
    assert list(storage.list_files()) == []
