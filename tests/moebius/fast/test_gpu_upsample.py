"""Upsampling for GPUs, interpreted on the CPU, against a convolution of the upsampled map in float64."""

import importlib
from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.nn import functional

from moebius.fast.upsample import FoldedUpsample
from tests.conftest import relative_error

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton has wheels for Linux only")
TOLERANCE = {torch.float32: 2e-6, torch.float16: 3e-3, torch.bfloat16: 3e-2}  # interpreted, bfloat16 is cut off


@pytest.fixture(scope="module")
def upsample():
    """The module with the kernels, which imports Triton."""
    return importlib.import_module("moebius.fast.gpu.upsample")


def conv_of(inputs: int, outputs: int, bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)


@torch.no_grad()
def upsampled(conv: nn.Conv2d, features: torch.Tensor) -> torch.Tensor:
    """PyTorch's result in float64, from weights of any type."""
    planes = functional.interpolate(features.double().permute(0, 3, 1, 2), scale_factor=2, mode="nearest")
    bias = None if conv.bias is None else conv.bias.double()
    return functional.conv2d(planes, conv.weight.double(), bias, padding=1).permute(0, 2, 3, 1)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(
    ("shape", "outputs"),
    [((2, 5, 7, 24), 40), ((1, 4, 6, 64), 64), ((1, 3, 2, 70), 130), ((3, 1, 1, 8), 8)],
    ids=["odd sizes", "whole tiles", "more than a block of channels", "one position"],
)
def test_equals_the_convolution(upsample, shape, outputs, dtype):
    conv = conv_of(shape[-1], outputs).to(dtype)
    features = torch.randn(shape).to(dtype)
    ours = upsample.FusedUpsample.from_conv(conv)(features)
    assert ours.dtype == dtype and ours.is_contiguous()
    assert relative_error(ours.double(), upsampled(conv, features)) <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_lowered_weights_take_and_return_other_types(upsample, dtype):
    plain, features = FoldedUpsample(conv_of(16, 24)).bfloat16(), torch.randn(2, 4, 3, 16)
    ours = upsample.FusedUpsample(plain)
    assert {value.dtype for value in ours.parameters()} == {torch.bfloat16}
    assert not any(value.requires_grad for value in ours.parameters())
    output = ours(features, dtype)
    assert output.dtype == dtype
    assert relative_error(output.float(), plain(features)) <= TOLERANCE[torch.bfloat16]


def test_no_bias_and_features_that_are_not_contiguous(upsample):
    conv, planes = conv_of(16, 8, bias=False), torch.randn(2, 16, 5, 4)
    features = planes.permute(0, 2, 3, 1)
    assert not features.is_contiguous()
    ours = upsample.FusedUpsample.from_conv(conv)(features)
    assert relative_error(ours.double(), upsampled(conv, features)) <= TOLERANCE[torch.float32]


@pytest.mark.parametrize(("samples_at_once", "expected"), [(0, [1] * 5), (2, [2, 2, 1]), (5, [5])], ids=str)
def test_slices_of_the_batch_change_nothing(upsample, monkeypatch, samples_at_once, expected):
    conv, features = conv_of(8, 12), torch.randn(5, 3, 4, 8)
    ours, sizes, combine = upsample.FusedUpsample.from_conv(conv), [], upsample.combine
    bytes_per_sample = 4 * 5 * (4 * 8 + 9 * 12) * 4
    monkeypatch.setattr(upsample, "MAX_BYTES", max(1, samples_at_once * bytes_per_sample))
    monkeypatch.setattr(upsample, "combine", lambda *args: (sizes.append(len(args[-1])), combine(*args)))
    assert relative_error(ours(features).double(), upsampled(conv, features)) <= TOLERANCE[torch.float32]
    assert sizes == expected


def test_differences_are_taken_before_rounding(upsample):
    features = 1000 + torch.randn(2, 5, 6, 8)
    values, *maps = upsample.differences(features, torch.float16)
    padded = functional.pad(features.double(), (0, 0, 1, 1, 1, 1))
    down, across = padded[:, 1:, 1:-1] - padded[:, :-1, 1:-1], padded[:, 1:-1, 1:] - padded[:, 1:-1, :-1]
    rows = padded[:, 1:] - padded[:, :-1]
    assert torch.equal(values, features.half())
    for ours, exact in zip(maps, (down, across, rows[:, :, 1:] - rows[:, :, :-1]), strict=True):
        assert ours.dtype == torch.float16 and ours.shape == exact.shape
        assert torch.allclose(ours.double(), exact, rtol=2**-10, atol=1e-3)


def test_features_of_the_same_type_are_not_copied(upsample):
    features = torch.randn(1, 2, 2, 8).half()
    assert upsample.differences(features, torch.float16)[0] is features


@pytest.mark.parametrize("has_bias", [True, False], ids=["with a bias", "without"])
def test_products_are_added_in_float32(upsample, has_bias):
    batch, height, width, channels = 2, 3, 5, 8
    sizes = [(0, 0, 1), (1, 0, 2), (0, 1, 2), (1, 1, 4)]
    shapes = [(batch, height + down, width + across, parts, channels) for down, across, parts in sizes]
    products = [torch.randn(shape).half() for shape in shapes]
    bias, output = torch.randn(channels), torch.empty(batch, 2 * height, 2 * width, channels)
    bias = bias if has_bias else None
    upsample.combine([product.flatten(3) for product in products], bias, output)
    shared, vertical, horizontal, mixed = (product.float() for product in products)
    for row in (0, 1):
        for column in (0, 1):
            rows, columns = slice(row, row + height), slice(column, column + width)
            exact = shared[..., 0, :] + vertical[:, rows, :, row] + horizontal[:, :, columns, column]
            exact = exact + mixed[:, rows, columns, 2 * row + column] + (0 if bias is None else bias)
            assert torch.allclose(output[:, row::2, column::2], exact, rtol=0, atol=1e-5)


def test_sums_of_weights_are_rounded_once(upsample):
    conv = conv_of(8, 8).bfloat16()
    sums = conv.weight.detach().float().sum((2, 3)).bfloat16()
    weights = upsample.FusedUpsample.from_conv(conv).weights
    assert torch.allclose(weights[0].float(), sums.float(), rtol=2**-8, atol=0)
    assert conv.weight.dtype == torch.bfloat16
