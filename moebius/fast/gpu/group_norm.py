"""Group norms of channels-last maps as Triton kernels.

Sums are float32, and in an order that does not change from run to run.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

CHUNK = 64  # positions that one program sums up
LARGE_CHUNK, MIN_LARGE_MAP = 256, 1024  # the same for maps of so many positions, in float16
CHANNELS = 64  # of a tile
TERMS = 4096  # moments that one program reads at once


def group_terms(
    features: Tensor,
    groups: int,
    eps: float,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    added: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute a group norm as x·scale + shift.

    Args:
        features: (B, H, W, C), contiguous.
        groups, eps, weight, bias: parameters of the norm; without a weight, the channels have neither scale nor shift.
        added: (C,), bias to add to the features before the norm.

    Returns:
        scale and shift, (B, C) float32 each.
    """
    rows, height, width, channels = features.shape
    positions = height * width
    is_large = features.dtype == torch.float16 and positions >= MIN_LARGE_MAP
    length = min(LARGE_CHUNK if is_large else CHUNK, positions & -positions)  # a power of two that divides
    chunks, block = positions // length, min(CHANNELS, triton.next_power_of_2(channels))
    means, squares = features.new_empty(2, rows, chunks, channels, dtype=torch.float32)
    _moments[(chunks * triton.cdiv(channels, block), rows)](
        features, means, squares, positions, channels, LENGTH=length, WIDTH=block, num_warps=max(4, length // 32)
    )
    scale, shift = features.new_empty(2, rows, channels, dtype=torch.float32)
    each = channels // groups
    width = triton.next_power_of_2(each)
    _terms[(groups, rows)](
        means,
        squares,
        weight,
        bias,
        added,
        scale,
        shift,
        chunks,
        length,
        channels,
        each,
        eps,
        CHUNKS=min(max(1, TERMS // width), triton.next_power_of_2(chunks)),
        WIDTH=width,
    )
    return scale, shift


def normed(features: Tensor, scale: Tensor, shift: Tensor, dtype: torch.dtype, has_silu: bool = False) -> Tensor:
    """Compute x·scale + shift, with SiLU after it if asked for: (B, H, W, C), twice (B, C) → (B, H, W, C) of a type."""
    rows, height, width, channels = features.shape
    positions = height * width
    length, block = 32, min(CHANNELS, triton.next_power_of_2(channels))
    output = torch.empty_like(features, dtype=dtype)
    _scaled[(triton.cdiv(positions, length) * triton.cdiv(channels, block), rows)](
        features,
        scale,
        shift,
        output,
        positions,
        channels,
        SILU=has_silu,
        FAST=is_fast_silu(dtype),
        LENGTH=length,
        WIDTH=block,
    )
    return output


def is_fast_silu(dtype: torch.dtype) -> bool:
    """Return whether SiLU of maps of a type is exact to 11 bits only; the interpreter has no such instruction."""
    return dtype == torch.float16 and not triton.knobs.runtime.interpret


@triton.jit
def silu(value, FAST: tl.constexpr):  # noqa: ANN201 - a kernel's
    """x·sigmoid(x): exact, by a reciprocal root in place of a quotient, or fast, by the GPU's own tanh.

    x·sigmoid(x) = h + h·tanh(h) with h = x / 2. The units of exp2, rsqrt and tanh limit the depthwise kernels.
    """
    if FAST:
        half = 0.5 * value
        bent = tl.inline_asm_elementwise(
            "tanh.approx.f32 $0, $1;", "=f,f", [half], dtype=tl.float32, is_pure=True, pack=1
        )
        result = half + half * bent
    else:
        root = tl.rsqrt(1 + tl.exp2(value * -1.4426950408889634))  # of 1 + exp(−x)
        result = value * root * root
    return result


@triton.jit
def _tile(channels, WIDTH: tl.constexpr):
    """Row of the batch, chunk of positions and channels of a program; neighbours share the positions."""
    blocks = tl.cdiv(channels, WIDTH)
    channel = tl.program_id(0) % blocks * WIDTH + tl.arange(0, WIDTH)
    return tl.program_id(1).to(tl.int64), tl.program_id(0) // blocks, channel


@triton.jit
def _moments(features, means, squares, positions, channels, LENGTH: tl.constexpr, WIDTH: tl.constexpr):
    """Compute the mean, and the sum of squared differences from it, of each channel over a chunk of positions."""
    row, chunk, channel = _tile(channels, WIDTH)
    at = chunk * LENGTH + tl.arange(0, LENGTH)
    inside = channel < channels
    places = (row * positions + at[:, None]) * channels + channel[None, :]
    value = tl.load(features + places, mask=inside[None, :], other=0.0).to(tl.float32)
    mean = tl.sum(value, 0) / LENGTH
    rest = value - mean[None, :]
    to = (row * (positions // LENGTH) + chunk) * channels + channel
    tl.store(means + to, mean, mask=inside)
    tl.store(squares + to, tl.sum(rest * rest, 0), mask=inside)


@triton.jit
def _terms(
    means,
    squares,
    weight,
    bias,
    added,
    scale,
    shift,
    chunks,
    length,
    channels,
    each,
    eps,
    CHUNKS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Merge the moments of all chunks and channels of a group (Chan's formula) into scale and shift."""
    group, row = tl.program_id(0), tl.program_id(1)
    member = tl.arange(0, WIDTH)
    channel = group * each + member
    inside = member < each
    extra = tl.zeros((WIDTH,), tl.float32)
    if added is not None:
        extra += tl.load(added + channel, mask=inside, other=0.0).to(tl.float32)
    total = tl.zeros((CHUNKS, WIDTH), tl.float32)
    for first in range(0, chunks, CHUNKS):
        chunk = first + tl.arange(0, CHUNKS)
        is_there = (chunk < chunks)[:, None] & inside[None, :]
        total += tl.load(
            means + (row * chunks + chunk[:, None]) * channels + channel[None, :], mask=is_there, other=0.0
        )
    mean = tl.sum(tl.sum(total, 0) / chunks + extra, 0) / each
    total = tl.zeros((CHUNKS, WIDTH), tl.float32)
    for first in range(0, chunks, CHUNKS):
        chunk = first + tl.arange(0, CHUNKS)
        is_there = (chunk < chunks)[:, None] & inside[None, :]
        places = (row * chunks + chunk[:, None]) * channels + channel[None, :]
        rest = tl.load(means + places, mask=is_there, other=0.0) + extra[None, :] - mean
        rest = tl.where(is_there, rest, 0.0)
        total += rest * rest * length + tl.load(squares + places, mask=is_there, other=0.0)
    variance = tl.sum(tl.sum(total, 0), 0) / (chunks * each * length)
    factor = tl.zeros((WIDTH,), tl.float32) + 1.0 / tl.sqrt(variance + eps)
    if weight is not None:
        factor *= tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    offset = (extra - mean) * factor
    if bias is not None:
        offset += tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    tl.store(scale + row * channels + channel, factor, mask=inside)
    tl.store(shift + row * channels + channel, offset, mask=inside)


@triton.jit
def _scaled(
    features,
    scale,
    shift,
    output,
    positions,
    channels,
    SILU: tl.constexpr,
    FAST: tl.constexpr,
    LENGTH: tl.constexpr,
    WIDTH: tl.constexpr,
):
    row, chunk, channel = _tile(channels, WIDTH)
    at = chunk * LENGTH + tl.arange(0, LENGTH)
    inside = channel < channels
    is_there = (at < positions)[:, None] & inside[None, :]
    factor = tl.load(scale + row * channels + channel, mask=inside, other=0.0)
    offset = tl.load(shift + row * channels + channel, mask=inside, other=0.0)
    places = (row * positions + at[:, None]) * channels + channel[None, :]
    value = tl.load(features + places, mask=is_there, other=0.0).to(tl.float32) * factor[None, :] + offset[None, :]
    if SILU:
        value = silu(value, FAST)
    tl.store(output + places, value.to(output.dtype.element_ty), mask=is_there)
