import time

import pytest

from moebius.train.timed.clock import Clock, cosine_share, falling_share


def test_a_clock_ends_with_its_last_second():
    clock = Clock(0.05)
    assert clock.share < 1
    time.sleep(0.06)
    assert clock.share == 1 and clock.elapsed >= 0.06
    assert Clock(0).share == 1


def test_rates_grow_and_fall_over_the_time():
    shares = [cosine_share(share, 0.1) for share in (0, 0.05, 0.1, 0.55, 1)]
    assert shares == pytest.approx([0, 0.5, 1, 0.5, 0])
    shares = [falling_share(share, 0.1, 0.25) for share in (0, 0.05, 0.1, 0.75, 0.875, 1)]
    assert shares == pytest.approx([0, 0.5, 1, 1, 0.5, 0])
