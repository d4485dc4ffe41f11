import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.verdicts.rates import NORMAL_95, StratumCounts, estimate_rate


def wilson(bad: int, count: int) -> tuple[float, float]:
    rate, square = bad / count, NORMAL_95**2
    half = NORMAL_95 * math.sqrt(rate * (1 - rate) / count + square / (4 * count**2))
    return tuple((rate + square / (2 * count) + sign * half) / (1 + square / count) for sign in (-1, 1))


@pytest.mark.parametrize(("bad", "count"), [(0, 300), (6, 300), (50, 100), (100, 100)])
def test_interval_of_one_large_stratum_is_that_of_wilson(bad, count):
    rate = estimate_rate([StratumCounts(10**9, count, bad)])
    assert rate.value == bad / count
    assert (rate.low, rate.high) == pytest.approx(wilson(bad, count), abs=0.1 / count)


def test_rate_is_the_mean_of_the_strata_by_their_size():
    rate = estimate_rate([StratumCounts(9000, 100, 1), StratumCounts(1000, 100, 50)])
    assert rate.value == pytest.approx(0.9 * 0.01 + 0.1 * 0.5)
    assert 0.03 < rate.low < rate.value < rate.high < 0.1


def test_rate_of_a_population_that_was_reviewed_wholly_is_certain():
    rate = estimate_rate([StratumCounts(4, 4, 1), StratumCounts(6, 6, 0)])
    assert (rate.value, rate.low, rate.high) == (0.1, 0.1, 0.1)


def test_strata_without_a_verdict_are_left_out_and_nothing_is_known_without_any():
    assert estimate_rate([StratumCounts(100, 10, 5), StratumCounts(900, 0, 0)]).value == 0.5
    assert estimate_rate([StratumCounts(900, 0, 0)]) is None


strata = st.tuples(st.integers(1, 10**6), st.integers(1, 400), st.integers(0, 400)).map(
    lambda drawn: StratumCounts(drawn[0], min(drawn[:2]), min(drawn))
)


@given(st.lists(strata, min_size=1, max_size=8))
def test_interval_holds_the_rate_and_lies_between_0_and_1(strata):
    rate = estimate_rate(strata)
    assert 0 <= rate.low <= rate.value <= rate.high <= 1 + 1e-9


@pytest.mark.parametrize(
    ("sizes", "rates", "judged"),
    [
        ((10_000,), (0.02,), (300,)),
        ((8000, 1000, 1000), (0.01, 0.02, 0.2), (150, 75, 75)),  # the bad ones are where more is drawn
        ((8000, 1000, 1000), (0.05, 0.01, 0.0), (100, 100, 100)),  # and where less is
        ((400, 100), (0.05, 0.3), (100, 50)),  # much of a small population
    ],
)
def test_interval_holds_the_true_rate_about_19_times_of_20(sizes, rates, judged):
    chance, hits, times = np.random.default_rng(0), 0, 2000
    bad_there = [round(size * rate) for size, rate in zip(sizes, rates, strict=True)]
    truth = sum(bad_there) / sum(sizes)
    for _ in range(times):
        drawn = [
            chance.hypergeometric(bad, size - bad, count)
            for bad, size, count in zip(bad_there, sizes, judged, strict=True)
        ]
        rate = estimate_rate([StratumCounts(*counts) for counts in zip(sizes, judged, drawn, strict=True)])
        hits += rate.low <= truth <= rate.high
    assert 0.925 < hits / times < 0.99
