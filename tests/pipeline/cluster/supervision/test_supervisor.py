"""The supervisor over a cluster in small: workers on nodes that work, defer, die, hang or break down."""

import itertools
import time
from collections import Counter
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline.cluster.supervision.staffing
import pipeline.cluster.supervision.supervisor
from pipeline.cluster.supervision.histories import Work
from pipeline.cluster.supervision.staffing import Staffing
from pipeline.cluster.supervision.supervisor import Supervisor
from pipeline.cluster.supervision.time_limits import Patience
from pipeline.errors import ExecutorError, JobError
from pipeline.faults.passes import History
from pipeline.faults.roster import Roster, Seat, Trouble
from pipeline.records import DEFERRED, FAILED, HELD, OK, RETURNED, SAMPLE_SCHEMA, Record, to_table
from tests.conftest import planned_sample


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch):
    monkeypatch.setattr(pipeline.cluster.supervision.supervisor, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(pipeline.cluster.supervision.supervisor, "TICK_S", 0.05)


def samples(count: int) -> pa.Table:
    return pa.Table.from_pylist([planned_sample(name) for name in names(count)], SAMPLE_SCHEMA)


def names(count: int) -> list[str]:
    return [f"{index:04}" for index in range(count)]


@dataclass
class Cluster:
    """Nodes in turn get the units; each has one worker at a time, which proves itself where real ones do.

    Args:
        killers: samples that kill their worker.
        gone: samples that a worker which works fails when it may, and defers before.
        nodes: of the cluster; a broken one defers everything, a deadly one dies with everything.
        flaky: whether the next units die although nothing is wrong with them.
        repeat: whether units come twice, as Ray may deliver them.
        until_s: how long every node is broken at first.
    """

    killers: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    nodes: tuple[str, ...] = ("sound",)
    flaky: list[bool] = field(default_factory=list)
    repeat: bool = False
    status: str = DEFERRED
    until_s: float = 0.0
    roster: Roster = field(default_factory=Roster)
    tries: Counter = field(default_factory=Counter)
    committed: list[str] = field(default_factory=list)
    passes: list = field(default_factory=list)

    def __post_init__(self):
        self.born, self.births = time.monotonic(), itertools.count()

    def start_pass(self, units, this_pass):
        self.passes.append(this_pass)
        fit = [node for node in self.nodes if node not in this_pass.avoided]
        workers = {node: self.start(node) for node in fit}
        for unit, node in zip(units.to_pylist(), itertools.cycle(fit)):
            for _ in range(this_pass.tries):  # Ray tries the unit of a worker that died again and again
                rows = self.do([sample["sample_id"] for sample in unit], node, workers[node], this_pass)
                if rows is not None:
                    break
                workers[node] = self.start(node)
            for _ in range(1 + self.repeat if rows else 0):
                yield to_table(rows)

    def start(self, node):
        name = f"{node}/{next(self.births)}"
        self.roster.start(name, Seat(node, node))
        return name

    def do(self, found, node, worker, this_pass):
        self.tries.update(found)
        if "deadly" in node:
            return None
        if "broken" in node or time.monotonic() - self.born < self.until_s:
            self.roster.trouble(worker, Trouble("FileNotFound: not mounted", True))
            return [Record(name, self.status, "read", "FileNotFound", "not mounted", worker=worker) for name in found]
        if this_pass.isolated:
            self.roster.begin(worker, found[0])
        if self.killers & set(found) or (self.flaky and self.flaky.pop()):
            return None
        missing = FAILED if this_pass.confirms else DEFERRED
        return [Record(name, missing if name in self.gone else OK, worker=worker) for name in found]

    def commit(self, rows):
        found = rows["sample_id"].to_pylist()
        assert not set(rows["status"].to_pylist()) & {DEFERRED, HELD}
        self.committed += found

    def run(self, count, stall_s=0.3, actors=1):
        blamed = {}

        def quarantine(found):
            blamed.update((sample["sample_id"], error) for sample, error in found)
            return to_table([])

        Supervisor(self.start_pass, Patience(self.roster, stall_s, actors), quarantine).do(samples(count), self.commit)
        return blamed


@given(
    count=st.integers(1, 400),
    killers=st.sets(st.integers(0, 399), max_size=30),
    gone=st.sets(st.integers(0, 399), max_size=30),
    flaky=st.lists(st.booleans(), max_size=6),
    nodes=st.sampled_from([("sound",), ("a", "b"), ("a", "broken"), ("deadly", "a", "broken", "b")]),
    repeat=st.booleans(),
    actors=st.integers(1, 9),
)
@settings(deadline=None, max_examples=100)
def test_every_sample_comes_to_one_end_and_only_killers_are_blamed(count, killers, gone, flaky, nodes, repeat, actors):
    killers, gone = ({f"{index:04}" for index in found if index < count} for found in (killers, gone))
    cluster = Cluster(killers, gone - killers, nodes, list(flaky), repeat)
    blamed = cluster.run(count, stall_s=5, actors=actors)
    assert killers <= blamed.keys()
    assert len(blamed) <= len(killers) + sum(flaky)
    assert sorted([*cluster.committed, *blamed]) == names(count)


def test_nine_killers_among_forty_are_quarantined():
    killers = {f"{index:04}" for index in range(0, 36, 4)}
    cluster = Cluster(killers)
    blamed = cluster.run(40, actors=2)
    assert blamed.keys() == killers
    assert {error.kind for error in blamed.values()} == {"WorkerDied"}
    assert "2 workers that had just proven to work died" in str(next(iter(blamed.values())))


def test_killers_alone_are_quarantined_by_workers_that_prove_to_work():
    assert Cluster(set(names(20))).run(20).keys() == set(names(20))


def test_killer_costs_its_neighbours_few_repetitions():
    cluster = Cluster({"0300"})
    assert cluster.run(1000).keys() == {"0300"}
    assert sum(tries > 2 for tries in cluster.tries.values()) <= 64
    assert sum(tries > 4 for tries in cluster.tries.values()) <= 8


def test_node_that_defers_everything_is_left_out_and_the_others_do_its_samples(lines):
    cluster = Cluster(nodes=("broken", "sound"))
    assert cluster.run(400, actors=2) == {}
    assert sorted(cluster.committed) == names(400)
    assert cluster.passes[-1].avoided == {"broken"}
    assert [line for line in lines if "excluded" in line] == [
        "broken is excluded from now on: FileNotFound: not mounted"
    ]


def test_node_whose_workers_die_of_everything_blames_no_sample():
    cluster = Cluster(nodes=("deadly", "sound"))
    assert cluster.run(400, actors=2) == {}
    assert sorted(cluster.committed) == names(400)


def test_node_that_was_given_killers_alone_is_not_left_out():
    cluster = Cluster({"0000", "0002"}, nodes=("a", "b"))
    assert cluster.run(4, actors=2).keys() == {"0000", "0002"}
    assert not any(this_pass.avoided for this_pass in cluster.passes)


def test_storage_that_is_away_for_a_while_blames_nobody(lines):
    cluster = Cluster(until_s=0.3)
    assert cluster.run(50, stall_s=30) == {}
    assert sorted(cluster.committed) == names(50)
    assert any(line.startswith("no sample succeeds, trying again") for line in lines)


@pytest.mark.parametrize("status", [DEFERRED, HELD])
def test_storage_that_stays_away_ends_the_job_and_is_named(status):
    cluster = Cluster(nodes=("broken",), status=status)
    with pytest.raises(JobError, match=r"600 of 600 samples are left: .*stall_s=0.3.*FileNotFound: not mounted"):
        cluster.run(600)
    assert cluster.committed == []


def test_storage_that_stays_away_ends_a_pass_that_would_go_on_and_on(monkeypatch):
    cluster = Cluster(nodes=("broken",))
    do = cluster.do
    monkeypatch.setattr(cluster, "do", lambda *arguments: time.sleep(0.02) or do(*arguments))
    started = time.monotonic()
    with pytest.raises(JobError):
        cluster.run(64 * 400, stall_s=0.2)
    assert time.monotonic() - started < 6  # 8 s for the first pass


def test_workers_that_all_die_of_everything_blame_no_sample():
    cluster = Cluster(nodes=("deadly",))
    with pytest.raises(JobError, match="200 of 200 samples are left"):
        cluster.run(200)


def test_workers_that_break_in_the_middle_blame_no_sample():
    cluster = Cluster()
    do, done = cluster.do, []

    def break_down(found, *rest):
        done.append(found)
        return do(found, *rest) if len(done) < 8 else None

    cluster.do = break_down
    with pytest.raises(JobError, match="of 1000 samples are left"):
        cluster.run(1000)


def test_error_that_cannot_pass_ends_the_job_at_once_with_its_reason():
    cluster = Cluster()

    def raise_always(found, node, worker, this_pass):
        cluster.roster.trouble(worker, Trouble("KeyError: 'spam'", False))
        return [Record(name, DEFERRED, "inpaint", "KeyError", "'spam'", worker=worker) for name in found]

    cluster.do = raise_always
    with pytest.raises(JobError, match=r"no worker can work.*KeyError: 'spam'"):
        cluster.run(3, stall_s=600)


def test_model_that_hangs_is_told_from_one_that_dies():
    cluster = Cluster({"0003"})
    cluster.roster.hang(["0003"])
    assert cluster.run(10)["0003"].kind == "TimedOut"


def test_workers_that_never_start_are_said_and_end_the_job(monkeypatch, lines):
    monkeypatch.setattr(pipeline.cluster.supervision.staffing, "SAY_S", 0.1)

    def never(units, this_pass):
        time.sleep(1)
        yield from ()

    patience = Patience(Roster(), 0.1, staffing=Staffing(shortage=lambda: "It has no CPU free."), quiet_s=0.3)
    with pytest.raises(JobError, match=r"no worker has completed a step for .* It has no CPU free"):
        Supervisor(never, patience, to_table).do(samples(3), lambda rows: None)
    assert sum("still waiting. It has no CPU free." in line for line in lines) == 1


@pytest.mark.parametrize(("present", "has_work", "told"), [(0, True, 1), (2, True, 1), (3, True, 0), (2, False, 0)])
def test_missing_workers_are_told_once_while_there_is_work_for_them(monkeypatch, lines, present, has_work, told):
    monkeypatch.setattr(pipeline.cluster.supervision.staffing, "SAY_S", 0.0)
    staffing = Staffing(3, lambda: "Others hold them", calls_each=4)
    for _ in range(3):
        staffing.note(present, has_work)
    assert len(lines) == told and all("Others hold them" in line for line in lines)
    staffing.note(3, has_work=True)
    assert len(lines) == 2 * told  # that they have come
    assert staffing.model_calls() == 12


def test_lost_worker_is_told_once_while_there_is_work(lines):
    roster, work = Roster(), Work(samples(3), 1)
    for worker in ("a/1", "b/2"):
        roster.start(worker, Seat(worker[0], worker[0]))
    patience = Patience(roster, 600.0)
    roster._last_signs["a/1"] -= 60.0
    for units in (0, 3, 3):
        patience.look_after_workers(work, units=units)
    assert lines == ["no sign of life from worker a/1 on a; what it had is tried again"]


def test_samples_that_leaving_workers_return_are_as_fresh_as_before():
    cluster = Cluster(gone={"0002"})
    real, returning = cluster.do, [True, False, True, False, False, False]

    def do(found, node, worker, this_pass):
        if returning and returning.pop(0):
            return [Record(name, RETURNED, "read", "WorkerLeaving", "node", worker=worker) for name in found]
        return real(found, node, worker, this_pass)

    cluster.do = do
    assert cluster.run(40) == {}
    assert sorted(cluster.committed) == names(40)
    assert [this_pass.history for this_pass in cluster.passes[:2]] == [History.FRESH, History.FRESH]
    assert max(cluster.tries.values()) == 2  # the one that is gone; what was returned was not tried


def test_workers_that_show_no_life_any_more_end_the_job():
    cluster = Cluster()

    def sleep(*_):
        time.sleep(1.5)
        return None

    cluster.do = sleep
    with pytest.raises(JobError, match="no worker has reported for"):
        cluster.run(3)


def test_finished_rows_are_committed_while_the_next_unit_takes_its_time(monkeypatch):
    monkeypatch.setattr(pipeline.cluster.supervision.supervisor, "FIRST_COMMIT_S", 0.1)
    cluster = Cluster()
    do, seen = cluster.do, []

    def take_time(found, *rest):
        if "0001" in found:
            time.sleep(0.5)
            seen.extend(cluster.committed)
        return do(found, *rest)

    cluster.do = take_time
    assert cluster.run(2, stall_s=30) == {}
    assert seen == ["0000"]


def test_units_that_take_longer_than_the_limit_are_no_stall_while_their_workers_do_steps():
    cluster = Cluster()
    do = cluster.do

    def work_slowly(found, node, worker, this_pass):
        if this_pass.confirms:
            return do(found, node, worker, this_pass)
        if "0000" in found:
            return [Record(name, DEFERRED, "read", "OSError", "no answer", worker=worker) for name in found]
        for step in range(12):
            time.sleep(0.05)
            cluster.roster.live(worker, step)
        return do(found, node, worker, this_pass)

    cluster.do = work_slowly
    assert cluster.run(2, stall_s=0.3) == {}
    assert sorted(cluster.committed) == names(2)


def test_workers_that_live_and_do_nothing_end_the_job():
    cluster = Cluster()

    def hang(units, this_pass):
        worker = cluster.start("sound")
        for _ in range(40):
            time.sleep(0.05)
            cluster.roster.live(worker, 0)
        yield from ()

    patience = Patience(cluster.roster, 0.1, quiet_s=0.5)
    with pytest.raises(JobError, match="no worker has completed a step for"):
        Supervisor(hang, patience, to_table).do(samples(3), cluster.commit)


def test_samples_that_are_held_for_ever_do_not_hide_killers():
    cluster, blamed = Cluster({"0003"}, gone={"0001"}), []
    do = cluster.do

    def hold(found, *rest):
        rows = do(found, *rest)
        for row in rows or []:
            row.status = HELD if row.sample_id == "0001" else row.status
        return rows

    def quarantine(found):
        blamed.extend(sample["sample_id"] for sample, _ in found)
        return to_table([])

    cluster.do = hold
    with pytest.raises(JobError, match="1 of 6 samples are left"):
        Supervisor(cluster.start_pass, Patience(cluster.roster, 0.3), quarantine).do(samples(6), cluster.commit)
    assert blamed == ["0003"]


def test_roster_that_does_not_answer_blames_nobody():
    cluster = Cluster({"0003"})
    read = cluster.roster.read

    def silent():
        entries = read()
        return replace(entries, number=-1) if len(cluster.passes) > 1 else entries

    cluster.roster.read = silent
    with pytest.raises(JobError, match="1 of 6 samples are left"):
        cluster.run(6)


def test_flow_that_never_gets_through_blames_no_sample():
    cluster = Cluster()

    def crash(units, this_pass):
        if "0000" not in cluster.committed:
            yield to_table([Record("0000", OK)])
        raise ExecutorError("the actor died")

    cluster.start_pass = crash
    with pytest.raises(JobError, match=r"19 of 20 samples are left.*actor died"):
        cluster.run(20)


def test_cause_of_death_that_the_executor_knows_is_the_last_reason():
    cluster = Cluster({"0003"})
    start_pass = cluster.start_pass

    def note_and_start(units, this_pass):
        yield from start_pass(units, this_pass)
        cluster.roster.note_death("out of memory")

    def silent():
        return replace(read(), number=-1) if len(cluster.passes) > 1 else read()

    read, cluster.start_pass, cluster.roster.read = cluster.roster.read, note_and_start, silent
    with pytest.raises(JobError, match=r"1 of 6 samples are left.*The last reason: out of memory\."):
        cluster.run(6)


def test_rows_that_came_before_a_crash_are_committed():
    cluster, crashes = Cluster(), []
    start_pass = cluster.start_pass

    def crash_twice(units, this_pass):
        for number, rows in enumerate(start_pass(units, this_pass)):
            if number and len(crashes) < 2:
                crashes.append(number)
                raise ExecutorError("the actor died")
            yield rows

    cluster.start_pass = crash_twice
    assert cluster.run(20) == {}
    assert sorted(cluster.committed) == names(20)
