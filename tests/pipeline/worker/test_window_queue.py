from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.records import FAILED, Record
from pipeline.worker.window_queue import MAX_PASSED, WindowQueue


@dataclass
class Sample:
    """A sample of so many windows that nobody fills."""

    windows: range
    strength: float | None = None
    seed: int = 0
    record: Record = field(default_factory=lambda: Record("x", FAILED))

    @property
    def count(self):
        return len(self.windows)

    @property
    def kind(self):
        return self.strength, None

    def cut(self, number, size_px):
        raise NotImplementedError

    def paste(self, number, filled):
        raise NotImplementedError


def queue_of(*samples: Sample) -> WindowQueue:
    queue = WindowQueue()
    for sample in samples:
        queue.put(sample)
    return queue


def taken(queue: WindowQueue, size: int) -> list[tuple[Sample, int]]:
    return [(entry.job, number) for entry, number in queue.take(size)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from([None, 0.5, 1.0])), min_size=1), st.integers(1, 8))
def test_every_window_is_handed_out_once_in_batches_of_one_strength(samples, size):
    queue = queue_of(*(Sample(range(count), strength) for count, strength in samples))
    seen = []
    while queue:
        batch = taken(queue, size)
        assert 0 < len(batch) <= size and len({sample.strength for sample, _ in batch}) == 1
        seen += [(id(sample), number) for sample, number in batch]
    assert len(seen) == len(set(seen)) == sum(count for count, _ in samples)


def test_next_round_of_a_sample_is_handed_out_from_its_first_window():
    sample = Sample(range(3))
    queue = WindowQueue()
    entry = queue.put(sample)
    assert [number for _, number in queue.take(8)] == [0, 1, 2]
    sample.windows, sample.strength = range(2), 0.5
    queue.put_again(entry)
    assert len(queue) == 2 and queue.take(8) == [(entry, 0), (entry, 1)]


def test_windows_are_taken_from_samples_in_turn():
    large, small = Sample(range(9)), Sample(range(2))
    assert taken(queue_of(large, small), 4) == [(large, 0), (small, 0), (large, 1), (small, 1)]


def test_full_batch_of_another_strength_goes_first():
    usual, other = Sample(range(40)), Sample(range(4), 1.0)
    assert taken(queue_of(usual, other), 4)[0][0] is other


def test_few_windows_of_another_strength_let_batches_pass_but_not_for_ever():
    usual, other = Sample(range(400)), Sample(range(1), 1.0)
    queue = queue_of(usual, other)
    first = [taken(queue, 4)[0][0] for _ in range(MAX_PASSED + 1)]
    assert first == [usual] * MAX_PASSED + [other]
