"""Iterators in threads: nothing is lost, and nothing goes on that nobody waits for."""

import threading
import time

import pytest

import pipeline.storage.gather
from pipeline.storage.gather import gather


def test_all_items_of_all_tasks_and_of_those_that_they_offer():
    def work(task, others):
        yield task
        if task < 100:
            assert others.offer(task + 1000)

    assert sorted(gather(range(100), work, 3)) == [*range(100), *range(1000, 1100)]
    assert list(gather([], work, 3)) == []


def test_too_many_tasks_are_refused(monkeypatch):
    monkeypatch.setattr(pipeline.storage.gather, "MAX_WAITING", 2)

    def work(task, others):
        yield [others.offer(None) for _ in range(4)] if task else []

    assert next(iter(item for item in gather([1], work, 1) if item)) == [True, True, False, False]


def test_consumer_that_waits_holds_back_the_threads():
    made = []

    def work(task, others):
        for number in range(1000):
            made.append(number)
            yield number

    items = gather([0, 1], work, 2)
    next(items)
    time.sleep(0.3)
    assert len(made) <= 2 * pipeline.storage.gather.QUEUED_PER_THREAD + 3
    before = threading.active_count()
    items.close()
    assert threading.active_count() <= before - 2


def test_first_exception_is_raised_and_ends_all():
    def work(task, others):
        yield task
        if task == 3:
            raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        list(gather(range(1000), work, 2))
