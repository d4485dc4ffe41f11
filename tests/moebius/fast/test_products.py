import pytest
import torch
from torch.nn import functional

from moebius.fast.products import product
from tests.conftest import relative_error


@pytest.mark.parametrize("rows", [1, 16, 255, 256, 264, 1040])
@pytest.mark.parametrize("has_bias", [True, False])
@torch.no_grad()
def test_product_equals_a_linear_layer_at_any_number_of_rows(rows, has_bias):
    features, weight = torch.randn(rows, 24), torch.randn(40, 24)
    bias = torch.randn(40) if has_bias else None
    assert relative_error(product(features, weight, bias), functional.linear(features, weight, bias)) <= 1e-5


@torch.no_grad()
def test_product_takes_slices_and_transposed_weights():
    features, weight = torch.randn(512, 72)[:, 24:48], torch.randn(24, 40).T
    assert relative_error(product(features, weight), features @ weight.T) <= 1e-5
