"""Nearest ×2 and the 3×3 convolution after it for GPUs: four products between two Triton kernels.

The arithmetic is that of :mod:`moebius.fast.upsample`. Products of the same map share one call, and everything around
the products is one pass over memory before them and one after them.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.nn import functional

from moebius.fast.fold import Linear
from moebius.fast.upsample import FoldedUpsample

# A tile: in 16 bits, one access of 16 bytes for each of 128 threads.
POSITIONS, CHANNELS = tl.constexpr(16), tl.constexpr(64)
MAX_BYTES = 2**31  # of the maps between the kernels; a larger batch is computed in slices


class FusedUpsample(nn.Module):
    """Replaces :class:`FoldedUpsample`, with the types of its layers."""

    def __init__(self, folded: FoldedUpsample) -> None:
        super().__init__()
        layers = ([folded.shared], folded.vertical, folded.horizontal, folded.mixed)
        self.weights = nn.ParameterList(_joined([cast(Linear, layer) for layer in group]) for group in layers)
        bias = folded.shared.bias
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)

    @classmethod
    def from_conv(cls, conv: nn.Conv2d) -> FusedUpsample:
        """Fold a convolution; sums of its weights are rounded once to their type."""
        return cls(FoldedUpsample(copy.deepcopy(conv).float()).to(conv.weight.dtype))

    def forward(self, features: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Upsample and convolve.

        Args:
            features: (B, H, W, in), of any floating type; copied unless contiguous.
            dtype: of the result; ``None`` is that of the features.

        Returns:
            (B, 2H, 2W, out).
        """
        batch, height, width, inputs = features.shape
        weights, outputs = list(self.weights), len(self.weights[0])
        output = features.new_empty(batch, 2 * height, 2 * width, outputs, dtype=dtype or features.dtype)
        sample_bytes = (height + 1) * (width + 1) * (4 * inputs + 9 * outputs) * weights[0].element_size()
        slices = min(batch, triton.cdiv(batch * sample_bytes, MAX_BYTES))
        samples = triton.cdiv(batch, slices)
        for part, target in zip(features.contiguous().split(samples), output.split(samples), strict=True):
            maps = differences(part, weights[0].dtype)
            combine([functional.linear(*pair) for pair in zip(maps, weights, strict=True)], self.bias, target)
        return output


def differences(features: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Subtract from each position the one above it, the one to its left, and both; outside of the map are zeros.

    Args:
        features: (B, H, W, C), contiguous.
        dtype: of the results; differences are computed in float32.

    Returns:
        The features, (B, H, W, C), without a copy where they have that type; the differences along the rows,
        (B, H + 1, W, C), along the columns, (B, H, W + 1, C), and along both, (B, H + 1, W + 1, C).
    """
    batch, height, width, channels = features.shape
    values = features if features.dtype == dtype else torch.empty_like(features, dtype=dtype)
    down = features.new_empty(batch, height + 1, width, channels, dtype=dtype)
    across = features.new_empty(batch, height, width + 1, channels, dtype=dtype)
    mixed = features.new_empty(batch, height + 1, width + 1, channels, dtype=dtype)
    count = batch * (height // 2 + 1) * (width + 1)
    _differences[_grid(count, channels)](
        features, None if values is features else values, down, across, mixed, count, height, width, channels
    )
    return values, down, across, mixed


def combine(products: list[Tensor], bias: Tensor | None, output: Tensor) -> None:
    """Add up, in float32, the products that belong to each output.

    Args:
        products: of the four maps of :func:`differences`, contiguous: (B, H, W, C) shared by four outputs,
            (B, H + 1, W, 2C) for the two rows, (B, H, W + 1, 2C) for the two columns, and
            (B, H + 1, W + 1, 4C) for the four outputs, row by row.
        bias: (C,); ``None`` adds nothing.
        output: (B, 2H, 2W, C), contiguous, of any type; it is overwritten.
    """
    batch, height, width, channels = products[0].shape
    count = batch * height * width
    _combine[_grid(count, channels)](*products, bias, output, count, height, width, channels)


def _joined(layers: list[Linear]) -> nn.Parameter:
    return nn.Parameter(torch.cat([layer.weight.detach() for layer in layers]), requires_grad=False)


def _grid(count: int, channels: int) -> tuple[int]:
    return (triton.cdiv(count, POSITIONS.value) * triton.cdiv(channels, CHANNELS.value),)


@triton.jit
def _tile(count, channels):
    """Positions and channels of a program, and which of them exist; neighbours share the positions."""
    blocks = tl.cdiv(channels, CHANNELS)
    at = tl.program_id(0) // blocks * POSITIONS + tl.arange(0, POSITIONS)
    channel = tl.program_id(0) % blocks * CHANNELS + tl.arange(0, CHANNELS)
    return at, channel, (at < count)[:, None] & (channel < channels)[None, :]


@triton.jit
def _places(position, channels, channel):
    return position.to(tl.int64)[:, None] * channels + channel[None, :]


@triton.jit
def _differences(features, values, down, across, mixed, count, height, width, channels):
    """Compute the differences of two rows per position, which share their loads."""
    at, channel, is_there = _tile(count, channels)
    pair, column = at // (width + 1), at % (width + 1)
    pairs = height // 2 + 1
    sample, row = pair // pairs, pair % pairs * 2
    # All loads come before the first store, which they could not pass.
    above, above_left = _with_left(features, sample, row - 1, column, height, width, channels, channel, is_there)
    here, left = _with_left(features, sample, row, column, height, width, channels, channel, is_there)
    below, below_left = _with_left(features, sample, row + 1, column, height, width, channels, channel, is_there)
    for step in tl.static_range(2):
        inner, outer = sample * height + row + step, sample * (height + 1) + row + step
        is_inner = is_there & (row + step < height)[:, None]
        is_outer = is_there & (row + step <= height)[:, None]
        is_column = (column < width)[:, None]
        change = here - above
        _store(down, outer * width + column, change, channels, channel, is_outer & is_column)
        _store(across, inner * (width + 1) + column, here - left, channels, channel, is_inner)
        _store(mixed, outer * (width + 1) + column, change - (left - above_left), channels, channel, is_outer)
        if values is not None:
            _store(values, inner * width + column, here, channels, channel, is_inner & is_column)
        above, above_left, here, left = here, left, below, below_left


@triton.jit
def _with_left(features, sample, row, column, height, width, channels, channel, is_there):
    """Load the features of a row, and those to their left; zeros outside of the map."""
    places = _places((sample * height + row) * width + column, channels, channel)
    is_row = is_there & ((row >= 0) & (row < height))[:, None]
    value = tl.load(features + places, mask=is_row & (column < width)[:, None], other=0.0)
    left = tl.load(features + places - channels, mask=is_row & (column > 0)[:, None], other=0.0)
    return value.to(tl.float32), left.to(tl.float32)


@triton.jit
def _store(output, position, value, channels, channel, mask):
    tl.store(output + _places(position, channels, channel), value.to(output.dtype.element_ty), mask=mask)


@triton.jit
def _combine(shared, vertical, horizontal, mixed, bias, output, count, height, width, channels):
    """Compute the four outputs of a low-resolution position, which share their loads."""
    at, channel, is_there = _tile(count, channels)
    line, column = at // width, at % width
    upper = line + line // height  # the line in maps of H + 1 rows
    corner = upper * (width + 1) + column
    base = _load(shared, at, channels, channel, is_there)
    top = _load(vertical, 2 * (upper * width + column), channels, channel, is_there)
    bottom = _load(vertical, 2 * ((upper + 1) * width + column) + 1, channels, channel, is_there)
    left = _load(horizontal, 2 * (at + line), channels, channel, is_there)
    right = _load(horizontal, 2 * (at + line + 1) + 1, channels, channel, is_there)
    top_left = _load(mixed, 4 * corner, channels, channel, is_there)
    top_right = _load(mixed, 4 * (corner + 1) + 1, channels, channel, is_there)
    bottom_left = _load(mixed, 4 * (corner + width + 1) + 2, channels, channel, is_there)
    bottom_right = _load(mixed, 4 * (corner + width + 2) + 3, channels, channel, is_there)
    if bias is not None:
        base += tl.load(bias + channel, mask=channel < channels, other=0.0).to(tl.float32)[None, :]
    top, bottom = top + base, bottom + base
    to = 4 * width * line + 2 * column  # 2·line rows of 2·width
    _store(output, to, top + left + top_left, channels, channel, is_there)
    _store(output, to + 1, top + right + top_right, channels, channel, is_there)
    _store(output, to + 2 * width, bottom + left + bottom_left, channels, channel, is_there)
    _store(output, to + 2 * width + 1, bottom + right + bottom_right, channels, channel, is_there)


@triton.jit
def _load(product, position, channels, channel, mask):
    return tl.load(product + _places(position, channels, channel), mask=mask, other=0.0).to(tl.float32)
