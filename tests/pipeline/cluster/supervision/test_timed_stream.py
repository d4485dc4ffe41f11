import threading
import time

import pytest

from pipeline.cluster.supervision.timed_stream import by_clock


def test_items_come_in_order_and_waiting_is_told_by_the_clock():
    def slowly():
        yield 1
        time.sleep(0.3)
        yield 2

    found = list(by_clock(slowly(), 0.05))
    assert [item for item in found if item is not None] == [1, 2]
    assert found[0] == 1 and found[-1] == 2 and found.count(None) >= 2


def test_error_is_raised_behind_the_items_before_it():
    def fail():
        yield 1
        raise KeyError("spam")

    stream = by_clock(fail(), 0.05)
    assert next(item for item in stream if item is not None) == 1
    with pytest.raises(KeyError):
        list(stream)


def test_iterator_of_a_stream_that_is_left_is_closed_after_its_item():
    closed, go_on = threading.Event(), threading.Event()

    def endless():
        try:
            while True:
                yield 1
                go_on.wait()
        finally:
            closed.set()

    stream = by_clock(endless(), 0.05)
    assert next(stream) == 1
    threading.Timer(0.1, go_on.set).start()
    stream.close()
    assert closed.wait(5)
