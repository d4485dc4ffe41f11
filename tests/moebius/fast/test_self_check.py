import pytest
import torch

from moebius.fast import self_check


def test_self_check_tells_a_wrong_kernel():
    right = torch.randn(8)
    self_check.compare("a step", right, right + 1e-4, 2e-3)
    for wrong in (right + 1, right * torch.nan):
        with pytest.raises(ArithmeticError, match="a step differs by"):
            self_check.compare("a step", wrong, right, 2e-3)
