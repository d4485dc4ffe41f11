"""Which run may store results, and a run that sleeps with its workers until another has taken over and finished."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pyarrow as pa
import pytest

import pipeline.faults.sink_holder
import pipeline.run
from pipeline.config.job import JobConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.faults.sink_holder import KEY, TAKEN_OVER, Epoch, SinkTakenOver
from pipeline.maintenance.verify import verify
from pipeline.manifest.lease import Lease, LeaseHeldError, until_taken_over
from pipeline.records import HELD, Record, to_table
from pipeline.sinks.base import Outcome
from pipeline.sinks.open_sink import open_sink
from pipeline.storage.local import STAGING
from pipeline.storage.storage import Storage
from tests.conftest import ROOT, make_photos
from tests.pipeline.flow_here import run_here

COUNT = 24


@pytest.fixture(params=["local", "s3"])
def sink(request, tmp_path):
    """Uri and options of a sink."""
    if request.param == "local":
        return str(tmp_path / "out"), {}
    return f"s3://bucket/{tmp_path.name}", request.getfixturevalue("s3_server")


def store(config: JobConfig, run_id: str) -> list[Record]:
    outcomes = [Outcome(Record(f"{name}.png", "ok", output_bytes=3), b"new") for name in "ab"]
    open_sink(config, run_id).store(outcomes)
    return [outcome.record for outcome in outcomes]


def test_results_are_stored_only_while_their_run_holds_the_sink(sink):
    uri, options = sink
    config, storage = JobConfig(sink=SinkConfig(uri=uri), storage=options), Storage(uri, options)
    with Lease(storage, "mine"):
        assert [record.status for record in store(config, "mine")] == ["ok", "ok"]
        storage.write("data/a.png", b"old")
        for record in store(config, "another"):
            assert (record.status, record.error_stage, record.error_type) == (HELD, "write", TAKEN_OVER)
            assert record.output_uri is record.output_bytes is None
    assert {record.status for record in store(config, "mine")} == {HELD}  # its run is over
    assert storage.read("data/a.png") == b"old"
    assert [file.key for file in storage.list_files() if file.key.startswith((STAGING, KEY))] == []


def test_answer_is_used_again_for_a_moment_only(sink, monkeypatch):
    storage = Storage(*sink)
    mine = Epoch(storage, "mine")
    mine.begin()
    now_s, reads = 1000.0, []
    monkeypatch.setattr(pipeline.faults.sink_holder.time, "clock_gettime", lambda clock: now_s)
    monkeypatch.setattr(storage, "read", lambda key: reads.append(key) or b"mine")
    for step_s in (0, mine._max_age_s / 2, mine._max_age_s, mine._max_age_s / 2):
        now_s += step_s
        mine.check()
    assert reads == [KEY, KEY]


def test_renewals_of_a_woken_run_do_not_take_the_sink_back(sink):
    storage = Storage(*sink)
    with (
        Lease(storage, "sleeper", renew_s=60) as sleeper,
        Lease(storage, "next", renew_s=0.2, silence_s=0.5) as following,
    ):
        sleeper.storage.write(".lease.json", sleeper._content())  # stopped between its look and its renewal
        with pytest.raises(SinkTakenOver):
            sleeper.epoch.check()
        following.epoch.check()
        with pytest.raises(LeaseHeldError, match="taken over by another run"):
            sleeper.check()


def test_run_that_slept_while_it_took_the_sink_does_not_begin(sink, monkeypatch):
    storage = Storage(*sink)
    begin = Epoch.begin

    def sleep_and_begin(epoch):
        monkeypatch.setattr(Epoch, "begin", begin)
        storage.write(".lease.json", json.dumps({"run_id": "next", "place": "x", "pid": 1, "renewals": 0}).encode())
        begin(epoch)

    monkeypatch.setattr(Epoch, "begin", sleep_and_begin)
    with pytest.raises(LeaseHeldError, match="taken over"), Lease(storage, "sleeper"):
        raise AssertionError("two runs hold the sink")


def test_driver_ends_with_the_first_sample_of_a_sink_taken_over(tmp_path):
    rows = to_table([Record("a.png", HELD, error_type=TAKEN_OVER, worker="node/7")])
    done = to_table([Record("b.png", "ok")])
    lease = Lease(Storage(str(tmp_path)), "run")
    with pytest.raises(LeaseHeldError, match="taken over"):
        list(until_taken_over(iter([done, rows]), lease))
    with lease:  # which node/7 alone does not see, since it looks at another folder
        assert pa.concat_tables(until_taken_over(iter([done, rows]), lease)).num_rows == 2
    assert pa.concat_tables(until_taken_over(iter([done, done]), lease)).num_rows == 2


def test_flow_of_rows_is_closed_when_the_sink_is_taken_over_although_the_error_is_kept(tmp_path):
    closed = []

    def rows():
        try:
            yield to_table([Record("a.png", HELD, error_type=TAKEN_OVER, worker="node/7")])
        finally:
            closed.append(True)

    with pytest.raises(LeaseHeldError) as kept:
        list(until_taken_over(rows(), Lease(Storage(str(tmp_path)), "run")))
    assert closed and kept.value


def test_run_that_wakes_after_another_has_finished_replaces_nothing(sink, here, tmp_path):
    uri, options = sink
    photos, masks = make_photos(tmp_path, count=COUNT, height=24, width=64)
    config = JobConfig(SourceConfig(uri=str(photos)), MaskConfig(uri=str(masks)), sink=SinkConfig(uri=uri))
    config = replace(config, storage=options)
    settings = {"source": {"uri": str(photos)}, "mask": {"uri": str(masks)}, "sink": {"uri": uri}, "storage": options}
    (tmp_path / "sleeper.yaml").write_text(json.dumps({**settings, "run": {"report": False}}))
    command = [sys.executable, "-m", "tests.pipeline.sleeper", str(tmp_path / "sleeper.yaml"), str(COUNT // 2)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as sleeper:
        try:
            assert os.WIFSTOPPED(os.waitpid(sleeper.pid, os.WUNTRACED)[1])
            here.setattr(pipeline.run, "Lease", partial(Lease, renew_s=0.1, silence_s=0.5))
            other = replace(config, model=replace(config.model, seed=1), run=replace(config.run, redo_changed=True))
            assert run_here(other, "other").samples["done_now"] == COUNT
            sleeper.send_signal(signal.SIGCONT)
            told = sleeper.communicate(timeout=60)[1]
        finally:
            sleeper.kill()
    assert verify(Storage(uri, options), "verify", with_hashes=True).agree
    assert sleeper.returncode == 1
    assert [line for line in told.splitlines() if "ERROR" in line or "Traceback" in line] == [told.splitlines()[-1]]
    assert "was taken over by another run" in told.splitlines()[-1]
