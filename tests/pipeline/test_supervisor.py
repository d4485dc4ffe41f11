import time

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.exceptions import ActorDiedError, UserCodeException

import pipeline.supervisor
from pipeline.records import LEFT, OK, SAMPLE_SCHEMA, Record, to_table
from pipeline.supervisor import JobError, supervise
from tests.conftest import planned_sample


def samples(count: int) -> pa.Table:
    return pa.Table.from_pylist([planned_sample(name) for name in names(count)], SAMPLE_SCHEMA)


def names(count: int) -> list[str]:
    return [f"{index:04}" for index in range(count)]


class Flow:
    """A cluster in small: units with a poisonous sample vanish, others come back, some of them twice."""

    def __init__(self, poison=(), flaky=(), repeat=False):
        self.poison, self.flaky, self.repeat = set(poison), list(flaky), repeat
        self.tries: dict[str, int] = {}
        self.committed: list[str] = []

    def start_pass(self, units, this_pass):
        for unit in units.to_pylist():
            found = [sample["sample_id"] for sample in unit]
            for name in found:
                self.tries[name] = self.tries.get(name, 0) + 1
            if self.poison & set(found) or (self.flaky and self.flaky.pop()):
                continue
            for _ in range(1 + self.repeat):
                yield to_table([Record(sample_id=name, status=OK) for name in found])

    def commit(self, rows, places):
        found = rows["sample_id"].to_pylist()
        assert found == [f"{place:04}" for place in places.to_pylist()]
        self.committed += found


@given(
    count=st.integers(1, 700),
    poison=st.sets(st.integers(0, 699), max_size=4),
    flaky=st.lists(st.booleans(), max_size=12),
    actors=st.integers(1, 9),
    repeat=st.booleans(),
)
@settings(deadline=None, max_examples=80)
def test_every_sample_is_committed_once_and_only_poison_is_left(count, poison, flaky, actors, repeat):
    poison = {f"{index:04}" for index in poison if index < count}
    if len(poison) == count:
        return
    flow = Flow(poison, flaky, repeat)
    lost = supervise(samples(count), actors, flow.start_pass, flow.commit)
    lost = set(lost["sample_id"].to_pylist())
    assert len(flow.committed) == len(set(flow.committed))
    assert set(flow.committed) | lost == set(names(count))
    assert not set(flow.committed) & lost
    assert poison <= lost
    if not any(flaky):
        assert lost == poison


def test_poison_is_found_with_few_repetitions_of_its_neighbours():
    flow = Flow(poison={"0300"})
    lost = supervise(samples(1000), 1, flow.start_pass, flow.commit)
    assert lost["sample_id"].to_pylist() == ["0300"]
    assert flow.tries["0300"] == 4
    assert sum(tries > 1 for tries in flow.tries.values()) <= 64
    assert sum(tries > 2 for tries in flow.tries.values()) <= 8


def test_workers_that_never_work_are_an_error_not_ten_thousand_failures():
    flow = Flow(poison=names(200))
    with pytest.raises(JobError, match="200 of 200 samples are left"):
        supervise(samples(200), 1, flow.start_pass, flow.commit)


def test_workers_that_break_in_the_middle_blame_no_sample():
    flow, done = Flow(), []

    def break_down(units, this_pass):
        for rows in flow.start_pass(units, this_pass):
            if len(done) < 8:
                done.append(rows)
                yield rows

    with pytest.raises(JobError, match="of 1000 samples are left"):
        supervise(samples(1000), 1, break_down, flow.commit)


def test_error_in_our_own_code_stops_the_job_and_says_what_it_was():
    def start_pass(units, this_pass):
        raise UserCodeException("KeyError: 'spam'")
        yield

    with pytest.raises(JobError, match="KeyError: 'spam'"):
        supervise(samples(3), 1, start_pass, lambda rows, places: None)


def refusing(flow: Flow, is_refused):
    """A flow in which workers give some samples back, since their credentials are refused."""

    def start_pass(units, this_pass):
        for rows in flow.start_pass(units, this_pass):
            yield to_table(
                [
                    Record(name, status=LEFT, error_type="CredentialsError", error_message="ExpiredToken")
                    if is_refused(name)
                    else Record(name, status=OK)
                    for name in rows["sample_id"].to_pylist()
                ]
            )

    return start_pass


def test_sample_that_is_given_back_even_at_the_end_is_not_blamed():
    flow = Flow()
    with pytest.raises(JobError, match=r"1 of 20 samples are left .* ExpiredToken"):
        supervise(samples(20), 1, refusing(flow, lambda name: name == "0003"), flow.commit)
    assert "0003" not in flow.committed and len(flow.committed) == 19


def test_job_ends_when_credentials_have_been_refused_for_long(monkeypatch):
    monkeypatch.setattr(pipeline.supervisor, "REFUSED_S", 0.0)
    flow = Flow()
    with pytest.raises(JobError, match=r"credentials are refused: ExpiredToken\. With others the same command goes on"):
        supervise(samples(1000), 1, refusing(flow, lambda name: name >= "0300"), flow.commit)
    assert len(flow.committed) == 300 and max(flow.tries.values()) == 1


def test_workers_that_take_long_to_start_have_not_been_refused_for_long(monkeypatch):
    monkeypatch.setattr(pipeline.supervisor, "REFUSED_S", 0.2)
    flow = Flow()
    refused_at_first = refusing(flow, lambda name: name < "0300" and flow.tries[name] == 1)

    def start_slowly(units, this_pass):
        time.sleep(0.3)
        yield from refused_at_first(units, this_pass)

    assert supervise(samples(1000), 1, start_slowly, flow.commit).num_rows == 0
    assert len(flow.committed) == 1000


def test_flow_that_never_gets_through_blames_no_sample():
    flow = Flow()

    def crash(units, this_pass):
        yield next(iter(flow.start_pass(units, this_pass)))
        raise ActorDiedError()

    with pytest.raises(JobError, match="actor died"):
        supervise(samples(20), 1, crash, flow.commit)


def test_rows_that_came_before_a_crash_are_committed():
    flow = Flow()

    def crash_twice(units, this_pass):
        for number, rows in enumerate(flow.start_pass(units, this_pass)):
            if number and len(flow.committed) < 4:
                raise ActorDiedError()
            yield rows

    assert supervise(samples(20), 1, crash_twice, flow.commit).num_rows == 0
    assert sorted(flow.committed) == names(20)
