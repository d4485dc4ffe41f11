"""Several drivers on one sink at once, in processes of their own; one is killed, and other numbers of them follow."""

import io
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.job import JobConfig, MaskConfig, ModelConfig, RunConfig, SinkConfig, SourceConfig
from pipeline.config.slice import Slice
from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.maintenance.forget import forget
from pipeline.maintenance.vacuum import delete_orphans, find_orphans
from pipeline.maintenance.verify import verify, verify_and_mark
from pipeline.manifest.lease import LeaseHeldError
from pipeline.manifest.log import Manifest
from pipeline.planning.finished_shards import FinishedShards
from pipeline.planning.listing import find_samples
from pipeline.planning.plan import make_plan
from pipeline.records import OK
from pipeline.storage.storage import Storage
from tests.conftest import ROOT, make_photos
from tests.pipeline.flow_here import quicken, run_here
from tests.pipeline.scenarios.test_hostile_shards import pair, tar

PHOTOS = 20


STARTED: list[subprocess.Popen] = []


@pytest.fixture
def held(monkeypatch):
    """Quick jobs in this process that take their lease; drivers that a test has started end with it."""
    quicken(monkeypatch, with_lease=True)
    yield
    while STARTED:
        driver = STARTED.pop()
        driver.kill()
        driver.communicate()


def job(folder, uri: str, options: dict, **sink) -> JobConfig:
    photos, masks = make_photos(folder, count=PHOTOS, height=24, width=64)
    return JobConfig(
        source=SourceConfig(uri=str(photos)),
        mask=MaskConfig(uri=str(masks), max_fraction=1.0),
        model=ModelConfig(weights="untrained"),
        sink=SinkConfig(uri=uri, **sink),
        run=RunConfig(report=False),
        storage=options,
    )


def of_slice(config: JobConfig, own_slice: str | None) -> JobConfig:
    return replace(config, run=replace(config.run, slice=own_slice))


def start(config: JobConfig, own_slice: str, run_id: str, awaited: str = "") -> subprocess.Popen:
    given = {
        "source": {"uri": config.source.uri},
        "mask": {"uri": config.mask.uri, "max_fraction": 1.0},
        "model": {"weights": "untrained"},
        "sink": {"uri": config.sink.uri, "format": config.sink.format, "shard_samples": config.sink.shard_samples},
        "run": {"slice": own_slice, "report": False},
        "storage": config.storage,
    }
    command = [sys.executable, "-m", "tests.pipeline.slice_driver", run_id, json.dumps(given), awaited]
    STARTED.append(subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE))
    return STARTED[-1]


def wait_for_rows(sink: Storage, own_slice: str) -> None:
    name = f"part-{Slice.parse(own_slice).file_name}-00000001"  # after the mark with which a log begins
    deadline = time.monotonic() + 120
    while not any(name in file.key for file in sink.list_files("manifest")):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def check(config: JobConfig) -> list[dict]:
    """Each sample has one row for any reader of Parquet, each result one row, and nothing is left of the drivers."""
    sink = Storage(config.sink.uri, config.storage)
    parts = [pq.read_table(io.BytesIO(sink.read(file.key))) for file in sink.list_files("manifest")]
    rows = pa.concat_tables(parts).to_pylist()
    assert Counter(row["sample_id"] for row in rows) == Counter(f"{index:03}.png" for index in range(PHOTOS))
    assert {row["status"] for row in rows} == {OK}
    assert {sink.uri(file.key) for file in sink.list_files("data")} == {row["output_uri"] for row in rows}
    assert Manifest(sink).is_tidy() and not [file.key for file in sink.list_files() if file.key.startswith(".")]
    return rows


def change_masks(config: JobConfig, numbers) -> None:
    masks = Storage(config.mask.uri)
    for index in numbers:
        masks.write(f"{index:03}.png", masks.read(f"{index + 1:03}.png"))


@pytest.mark.parametrize(
    ("place", "count", "sink"), [("local", 4, "webdataset"), pytest.param("s3", 2, "images", marks=pytest.mark.slow)]
)
def test_drivers_at_once_one_of_them_killed_and_then_others(held, tmp_path, request, place, count, sink):
    uri, options = str(tmp_path / "out"), {}
    if place == "s3":
        uri, options = f"s3://bucket/{tmp_path.name}", request.getfixturevalue("s3_server")
    config = job(tmp_path, uri, options, format=sink, shard_samples=1)
    storage, gate = Storage(uri, options), tmp_path / "gate"
    drivers = [start(config, f"{index}/{count}", f"first-{index}", str(gate)) for index in range(count)]
    for index in range(count):
        wait_for_rows(storage, f"{index}/{count}")
    drivers[1].kill()
    drivers[1].wait()
    with pytest.raises(
        LeaseHeldError, match=rf"^slice \d/{count} of .* is held by run first-\d .*needs the whole sink"
    ):
        run_here(config, "whole")
    with pytest.raises(LeaseHeldError, match="is of another number of slices"):
        run_here(of_slice(config, "0/7"), "other")
    drivers[1] = start(config, f"1/{count}", "again-1")
    assert drivers[1].wait(timeout=120) == 0
    assert all(driver.poll() is None for index, driver in enumerate(drivers) if index != 1)
    gate.touch()
    counts = [tuple(map(int, driver.communicate(timeout=120)[0].split())) for driver in drivers]
    assert sum(found for found, _ in counts) == PHOTOS
    own = [Slice.parse(f"{index}/{count}") for index in range(count)]
    for index, (found, done) in enumerate(counts):
        assert found == sum(own[index].holds(f"{number:03}.png") for number in range(PHOTOS))
        assert 0 < done == found or (index == 1 and 0 < done < found)
    rows = check(config)
    assert {row["run_id"] for row in rows} == {"again-1", *(f"first-{index}" for index in range(count))}
    change_masks(config, range(0, 8, 2))
    done_now = [run_here(of_slice(config, f"{index}/3"), f"second-{index}").samples["done_now"] for index in range(3)]
    assert sum(done_now) == 4
    assert sum(row["run_id"].startswith("second") for row in check(config)) == 4
    change_masks(config, range(0, 4))
    assert run_here(config, "third").samples["done_now"] == 4
    check(config)


def test_whole_run_and_other_slices_take_over_what_killed_drivers_have_left(held, tmp_path):
    config = job(tmp_path, str(tmp_path / "out"), {})
    storage, gate = Storage(config.sink.uri), tmp_path / "gate"
    for count, following in ((2, "2/3"), (3, None)):
        own = f"1/{count}"
        driver = start(config, own, f"killed-{count}", str(gate))
        wait_for_rows(storage, own)
        driver.kill()
        driver.wait()
        assert run_here(of_slice(config, following), f"after-{count}").samples["done_now"] > 0
    rows = check(config)
    assert {row["run_id"] for row in rows} >= {"killed-2", "killed-3", "after-2", "after-3"}


def test_commands_that_need_the_whole_sink_name_the_driver_of_a_slice(held, tmp_path):
    config = job(tmp_path, str(tmp_path / "out"), {})
    start(config, "1/2", "driver", str(tmp_path / "gate"))
    sink = Storage(config.sink.uri)
    wait_for_rows(sink, "1/2")
    for command in (
        lambda: list(find_orphans(sink, "vacuum")),
        lambda: list(delete_orphans(sink, "vacuum")),
        lambda: verify(sink, "verify", with_hashes=False),
        lambda: verify_and_mark(sink, "verify", with_hashes=False),
        lambda: forget(sink, ["000.png"], "forget"),
    ):
        with pytest.raises(LeaseHeldError, match=r"^slice 1/2 of .* is held by run driver .*needs the whole sink"):
            command()
    assert len(Manifest(sink).load(["sample_id"])) > 0


def plan(config: JobConfig):
    with Database() as database:
        manifest = Manifest(Storage(config.sink.uri))
        find_samples(config, database, FinishedShards(config, "untrained", manifest, database))
        made = make_plan(config, database, "untrained", manifest)
        return made, [row["sample_id"] for chunk in made.chunks() for row in chunk.to_pylist()]


def test_slices_of_shards_open_each_shard_once(held, tmp_path, monkeypatch):
    shards = tmp_path / "shards"
    shards.mkdir()
    for number in range(6):
        (shards / f"{number}.tar").write_bytes(tar([m for index in range(3) for m in pair(f"{index:02}")]))
    config = JobConfig(
        source=SourceConfig(format="webdataset", uri=str(shards)),
        mask=MaskConfig("member"),
        model=ModelConfig(weights="untrained"),
        sink=SinkConfig(uri=str(tmp_path / "out")),
        run=RunConfig(report=False),
    )
    opened: list[str] = []
    open_file = Storage.open
    monkeypatch.setattr(
        Storage, "open", lambda storage, key, *rest: opened.append(key) or open_file(storage, key, *rest)
    )
    names = [plan(of_slice(config, f"{index}/4"))[1] for index in range(4)]
    assert sorted(key for key in opened if key.endswith(".tar")) == sorted(f"{number}.tar" for number in range(6))
    assert Counter(name for found in names for name in found) == Counter(plan(config)[1])
    for index, found in enumerate(names):
        own = Slice.parse(f"{index}/4")
        assert {name.partition("/")[0] for name in found} == {f"{n}.tar" for n in range(6) if own.holds(f"{n}.tar")}
    monkeypatch.undo()
    quicken(monkeypatch, with_lease=True)
    for index in range(4):
        assert run_here(of_slice(config, f"{index}/4"), f"run-{index}").samples["done_now"] == len(names[index])
    (shards / "0.tar").unlink()
    gone = [
        plan(of_slice(replace(config, run=replace(config.run, select="false")), f"{index}/4"))[0] for index in range(4)
    ]
    assert [found.gone for found in gone] == [3 * Slice.parse(f"{index}/4").holds("0.tar") for index in range(4)]
    assert sum(found.found for found in gone) == 15


def test_plan_of_a_slice_counts_only_its_samples(held, tmp_path):
    config = job(tmp_path, str(tmp_path / "out"), {})
    run_here(of_slice(config, "0/2"), "first")
    written = json.loads(Storage(config.sink.uri).read("runs/first.json"))
    assert written["configuration"]["run"]["slice"] == "0/2"
    with pytest.raises(ConfigError, match="already holds"):
        run_here(replace(config, run=RunConfig(slice="0/2", resume=False)), "again")
    Storage(config.source.uri).delete("000.png")
    own = Slice.parse("0/2")
    mine = [f"{index:03}.png" for index in range(PHOTOS) if own.holds(f"{index:03}.png")]
    keep = replace(config, run=replace(config.run, select="false"))
    first, todo = plan(of_slice(keep, "0/2"))
    assert (first.found, first.done.total(), todo) == (len(set(mine) - {"000.png"}),) * 2 + ([],)
    second, todo = plan(of_slice(keep, "1/2"))
    others = {f"{index:03}.png" for index in range(1, PHOTOS)} - set(mine)
    assert (second.found, set(todo), second.done.total()) == (len(others), others, 0)
    assert (first.gone, second.gone) == ("000.png" in mine, False)
