"""Depthwise 3×3 convolutions of channels-last maps, with what is before and after them, as Triton kernels.

A program goes down a tile of the map. Every row of the input is read once and added to three of the output. SiLU, which
costs more than the convolution, is computed once for the columns that lie together, and again at the edges of groups.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from moebius.fast.fold import ChannelsLastConv
from moebius.fast.gpu.group_norm import is_fast_silu, silu

ROWS, FLOAT16_ROWS, GROUPS, CHANNELS = 16, 32, 8, 64  # of a tile
TOGETHER = tl.constexpr(2)  # columns of a group
CHANNELS_PER_WARP = 8  # in a tile of GROUPS groups: four outputs per thread
GATED_CHANNELS_PER_WARP = 16  # of 64 channels; on an H200 10 % faster than 8, which is faster for the other kernel


class Taps(nn.Module):
    """Weights, (9, C), and biases, (C,), of a convolution of each channel by itself, as the kernels read them."""

    def __init__(self, conv: ChannelsLastConv) -> None:
        super().__init__()
        self.weight = nn.Parameter(conv.weight.detach().flatten(1).T.contiguous(), requires_grad=False)
        self.bias = conv.bias


def norm_silu_depthwise(
    features: Tensor,
    scale: Tensor,
    shift: Tensor,
    taps: Taps,
    carried: Tensor,
    dtype: torch.dtype,
    returns_input: bool,
    added: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Compute the first half of a depthwise separable convolution, with norm and SiLU before it.

    Args:
        features: (B, H, W, C), contiguous.
        scale, shift: (B, C), of the norm.
        taps: of the convolution.
        carried: (C,), added to the returned input.
        dtype: of the results.
        returns_input: whether to return the convolution's input, too, with what is added to it.
        added: (B, H, W, C), contiguous, also added to the returned input; ``None`` adds nothing.

    Returns:
        ReLU of the convolution, and silu(x·scale + shift) + carried + added or ``None``: (B, H, W, C) each.
    """
    output = torch.empty_like(features, dtype=dtype)
    around = torch.empty_like(output) if returns_input else None
    grid, block, rows = _tiles(features, dtype)
    _norm_silu_depthwise[grid](
        features,
        scale,
        shift,
        taps.weight,
        taps.bias,
        carried,
        added,
        output,
        around,
        *features.shape[1:],
        ROWS=rows,
        GROUPS=GROUPS,
        WIDTH=block,
        FAST=is_fast_silu(dtype),
        num_warps=block // CHANNELS_PER_WARP,
    )
    return output, around


def gated_depthwise(values: Tensor, gates: Tensor, value_taps: Taps, gate_taps: Taps) -> Tensor:
    """Compute the middle of a Mix-FFN: conv(silu(values))·silu(conv(silu(gates))), (B, H, W, C) each, contiguous."""
    output = torch.empty_like(values)
    grid, block, rows = _tiles(values, values.dtype)
    per_warp = GATED_CHANNELS_PER_WARP if block == CHANNELS else CHANNELS_PER_WARP
    _gated_depthwise[grid](
        values,
        gates,
        value_taps.weight,
        value_taps.bias,
        gate_taps.weight,
        gate_taps.bias,
        output,
        *values.shape[1:],
        ROWS=rows,
        GROUPS=GROUPS,
        WIDTH=block,
        FAST=is_fast_silu(values.dtype),
        num_warps=block // per_warp,
    )
    return output


def _tiles(features: Tensor, dtype: torch.dtype) -> tuple[tuple[int, int, int], int, int]:
    """Return the grid over a map, and channels and rows of a tile: powers of two, channels that divide if they can."""
    samples, height, width, channels = features.shape
    block = CHANNELS if channels % CHANNELS == 0 or channels < 32 else 32
    rows = FLOAT16_ROWS if dtype == torch.float16 and height >= FLOAT16_ROWS else ROWS
    tiles = triton.cdiv(width, GROUPS * TOGETHER.value) * triton.cdiv(height, rows)
    return (tiles, triton.cdiv(channels, block), samples), block, rows


@triton.jit
def _tile(width, ROWS: tl.constexpr, GROUPS: tl.constexpr, WIDTH: tl.constexpr):
    """Return the place of a program: row of the batch, first line, first column of each group, channels."""
    across = tl.cdiv(width, GROUPS * TOGETHER)
    top = tl.program_id(0) // across * ROWS
    column = (tl.program_id(0) % across * GROUPS + tl.arange(0, GROUPS)) * TOGETHER
    return tl.program_id(2).to(tl.int64), top, column, tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)


@triton.jit
def _nine(weight, channel, channels, inside):
    """Load the weights of the nine taps, row by row."""
    return (
        _tap(weight, channel, inside),
        _tap(weight + channels, channel, inside),
        _tap(weight + 2 * channels, channel, inside),
        _tap(weight + 3 * channels, channel, inside),
        _tap(weight + 4 * channels, channel, inside),
        _tap(weight + 5 * channels, channel, inside),
        _tap(weight + 6 * channels, channel, inside),
        _tap(weight + 7 * channels, channel, inside),
        _tap(weight + 8 * channels, channel, inside),
    )


@triton.jit
def _tap(weight, channel, inside):
    return tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)[None, :]


@triton.jit
def _columns_there(column, width, inside):
    """Return whether the column before a group, its two, and the one after it are on the map."""
    inside = inside[None, :]
    has_left = ((column > 0) & (column <= width))[:, None] & inside
    has_first, has_second = (column < width)[:, None] & inside, (column + 1 < width)[:, None] & inside
    return has_left, has_first, has_second, (column + 2 < width)[:, None] & inside


@triton.jit
def _row_at(features, places, channels, there, is_row):
    """Load the column before a group, its two, and the one after it; 0 outside of the map."""
    left = tl.load(features + places - channels, mask=there[0] & is_row, other=0.0).to(tl.float32)
    first = tl.load(features + places, mask=there[1] & is_row, other=0.0).to(tl.float32)
    second = tl.load(features + places + channels, mask=there[2] & is_row, other=0.0).to(tl.float32)
    right = tl.load(features + places + 2 * channels, mask=there[3] & is_row, other=0.0).to(tl.float32)
    return left, first, second, right


@triton.jit
def _silu_row(features, places, channels, there, is_row, FAST: tl.constexpr):
    left, first, second, right = _row_at(features, places, channels, there, is_row)
    return silu(left, FAST), silu(first, FAST), silu(second, FAST), silu(right, FAST)


@triton.jit
def _norm_silu_row(features, places, channels, there, is_row, factor, offset, FAST: tl.constexpr):
    """Load a row, norm it and compute SiLU; zeros outside of the map stay zero."""
    left, first, second, right = _row_at(features, places, channels, there, is_row)
    left = tl.where(there[0] & is_row, silu(left * factor + offset, FAST), 0.0)
    first = tl.where(there[1] & is_row, silu(first * factor + offset, FAST), 0.0)
    second = tl.where(there[2] & is_row, silu(second * factor + offset, FAST), 0.0)
    right = tl.where(there[3] & is_row, silu(right * factor + offset, FAST), 0.0)
    return left, first, second, right


@triton.jit
def _add_row(above, here, start, left, middle, right, taps):
    """Add a row of the input to three of the output: the one that is done by that, and the next two as they are."""
    done = above + left * taps[6] + middle * taps[7] + right * taps[8]
    above = here + left * taps[3] + middle * taps[4] + right * taps[5]
    return done, above, start + left * taps[0] + middle * taps[1] + right * taps[2]


@triton.jit
def _relu(value):
    return tl.maximum(value, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _norm_silu_depthwise(
    features,
    scale,
    shift,
    weight,
    bias,
    carried,
    added,
    output,
    around,
    height,
    width,
    channels,
    ROWS: tl.constexpr,
    GROUPS: tl.constexpr,
    WIDTH: tl.constexpr,
    FAST: tl.constexpr,
):
    row, top, column, channel = _tile(width, ROWS, GROUPS, WIDTH)
    inside = channel < channels
    factor = tl.load(scale + row * channels + channel, mask=inside, other=0.0)[None, :]
    offset = tl.load(shift + row * channels + channel, mask=inside, other=0.0)[None, :]
    taps, start = _nine(weight, channel, channels, inside), _tap(bias, channel, inside)
    if around is not None:
        extra = _tap(carried, channel, inside)
    there = _columns_there(column, width, inside)
    above = tl.zeros((GROUPS, WIDTH), tl.float32) + start
    here, above2, here2 = above, above, above  # of the first column of a group, and of the second
    for step in range(ROWS + 2):
        y = top + step - 1 + tl.zeros((GROUPS, 1), tl.int32)  # not a scalar: Triton's interpreter spreads no booleans
        is_row, is_done = (y >= 0) & (y < height), (y > top) & (y <= height)
        places = ((row * height + y) * width + column[:, None]) * channels + channel[None, :]
        left, first, second, right = _norm_silu_row(features, places, channels, there, is_row, factor, offset, FAST)
        done, above, here = _add_row(above, here, start, left, first, second, taps)
        done2, above2, here2 = _add_row(above2, here2, start, first, second, right, taps)
        to = output + places - width * channels
        tl.store(to, _relu(done).to(output.dtype.element_ty), mask=there[1] & is_done)
        tl.store(to + channels, _relu(done2).to(output.dtype.element_ty), mask=there[2] & is_done)
        if around is not None:
            is_own = is_row & (y >= top) & (y < top + ROWS)
            first += extra
            second += extra
            if added is not None:
                first += tl.load(added + places, mask=there[1] & is_own, other=0.0).to(tl.float32)
                second += tl.load(added + places + channels, mask=there[2] & is_own, other=0.0).to(tl.float32)
            tl.store(around + places, first.to(around.dtype.element_ty), mask=there[1] & is_own)
            tl.store(around + places + channels, second.to(around.dtype.element_ty), mask=there[2] & is_own)


@triton.jit
def _gated_depthwise(
    values,
    gates,
    value_weight,
    value_bias,
    gate_weight,
    gate_bias,
    output,
    height,
    width,
    channels,
    ROWS: tl.constexpr,
    GROUPS: tl.constexpr,
    WIDTH: tl.constexpr,
    FAST: tl.constexpr,
):
    """Filter two maps at once, and gate one by the other."""
    row, top, column, channel = _tile(width, ROWS, GROUPS, WIDTH)
    inside = channel < channels
    taps, start = _nine(value_weight, channel, channels, inside), _tap(value_bias, channel, inside)
    gate_taps, gate_start = _nine(gate_weight, channel, channels, inside), _tap(gate_bias, channel, inside)
    there = _columns_there(column, width, inside)
    above = tl.zeros((GROUPS, WIDTH), tl.float32) + start
    here, above2, here2 = above, above, above
    gate_above = tl.zeros((GROUPS, WIDTH), tl.float32) + gate_start
    gate_here, gate_above2, gate_here2 = gate_above, gate_above, gate_above
    for step in range(ROWS + 2):
        y = top + step - 1 + tl.zeros((GROUPS, 1), tl.int32)
        is_row, is_done = (y >= 0) & (y < height), (y > top) & (y <= height)
        places = ((row * height + y) * width + column[:, None]) * channels + channel[None, :]
        left, first, second, right = _silu_row(values, places, channels, there, is_row, FAST)
        done, above, here = _add_row(above, here, start, left, first, second, taps)
        done2, above2, here2 = _add_row(above2, here2, start, first, second, right, taps)
        left, first, second, right = _silu_row(gates, places, channels, there, is_row, FAST)
        gate, gate_above, gate_here = _add_row(gate_above, gate_here, gate_start, left, first, second, gate_taps)
        gate2, gate_above2, gate_here2 = _add_row(gate_above2, gate_here2, gate_start, first, second, right, gate_taps)
        to = output + places - width * channels
        tl.store(to, (done * silu(gate, FAST)).to(output.dtype.element_ty), mask=there[1] & is_done)
        tl.store(to + channels, (done2 * silu(gate2, FAST)).to(output.dtype.element_ty), mask=there[2] & is_done)
