"""Every fault of the drill is also tested where it can be looked at on its own."""

import pytest

from tests.drill.faults import FAULTS
from tests.joined_cluster import ROOT


@pytest.mark.parametrize("name", FAULTS)
def test_fault_has_a_small_test_and_a_description(name):
    path, _, function = FAULTS[name].tested_by.partition("::")
    assert f"def {function}(" in (ROOT / "tests" / path).read_text()
    assert FAULTS[name].do.__doc__
