from collections import Counter

import pytest

from tests.fuzz import attempt

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of broken tags


def test_nothing_that_is_broken_raises_anything_but_a_sample_error():
    outcomes = Counter(attempt(seed=0, number=number) for number in range(1500))
    assert {"picture", "mask", "annotation", "name"} <= outcomes.keys()
    assert sum(count for outcome, count in outcomes.items() if ": " in outcome) > 500
