from collections import Counter

from tests.fuzz import attempt


def test_nothing_that_is_broken_raises_anything_but_a_sample_error():
    outcomes = Counter(attempt(seed=0, number=number) for number in range(1500))
    assert {"picture", "mask", "annotation", "name"} <= outcomes.keys()
    assert sum(count for outcome, count in outcomes.items() if ": " in outcome) > 500
