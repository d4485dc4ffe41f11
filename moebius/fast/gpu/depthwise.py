"""Depthwise 3×3 convolutions of channels-last maps, with what is before and after them, as Triton kernels."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from moebius.fast.fold import ChannelsLastConv

COLUMNS, CHANNELS = 16, 64  # of a tile


def norm_silu_depthwise(
    features: Tensor,
    scale: Tensor,
    shift: Tensor,
    conv: ChannelsLastConv,
    carried: Tensor,
    dtype: torch.dtype,
    goes_around: bool,
) -> tuple[Tensor, Tensor | None]:
    """The first half of a depthwise separable convolution, with norm and SiLU before it.

    Args:
        features: (B, H, W, C), contiguous.
        scale, shift: (B, C), of the norm.
        conv: a convolution of each channel by itself.
        carried: (C,), added to what goes around the convolution.
        dtype: of the results.
        goes_around: whether anything does.

    Returns:
        ReLU of the convolution, and silu(x·scale + shift) + carried or ``None``: (B, H, W, C) each.
    """
    rows, height, width, channels = features.shape
    output = torch.empty_like(features, dtype=dtype)
    around = torch.empty_like(output) if goes_around else None
    block = _channel_block(channels)
    grid = (triton.cdiv(width, COLUMNS) * triton.cdiv(height, COLUMNS), triton.cdiv(channels, block), rows)
    _norm_silu_depthwise[grid](
        features,
        scale,
        shift,
        conv.weight,
        conv.bias,
        carried,
        output,
        output if around is None else around,
        height,
        width,
        channels,
        AROUND=goes_around,
        ROWS=COLUMNS,
        COLUMNS=COLUMNS,
        WIDTH=block,
        num_warps=4,
    )
    return output, around


def gated_depthwise(values: Tensor, gates: Tensor, value_conv: ChannelsLastConv, gate_conv: ChannelsLastConv) -> Tensor:
    """The middle of a Mix-FFN: conv(silu(values))·silu(conv(silu(gates))), (B, H, W, C) each, contiguous."""
    rows, height, width, channels = values.shape
    output = torch.empty_like(values)
    block = _channel_block(channels)
    grid = (triton.cdiv(width, COLUMNS) * triton.cdiv(height, COLUMNS), triton.cdiv(channels, block), rows)
    _gated_depthwise[grid](
        values,
        gates,
        value_conv.weight,
        value_conv.bias,
        gate_conv.weight,
        gate_conv.bias,
        output,
        height,
        width,
        channels,
        ROWS=COLUMNS,
        COLUMNS=COLUMNS,
        WIDTH=block,
        num_warps=4,
    )
    return output


def _channel_block(channels: int) -> int:
    """Channels of a tile: a power of two that divides, if that is not too small."""
    return CHANNELS if channels % CHANNELS == 0 or channels < 32 else 32


@triton.jit
def _tile(width, ROWS: tl.constexpr, COLUMNS: tl.constexpr, WIDTH: tl.constexpr):
    """Where a program works: row of the batch, first line, columns, channels."""
    across = tl.cdiv(width, COLUMNS)
    top = tl.program_id(0) // across * ROWS
    column = tl.program_id(0) % across * COLUMNS + tl.arange(0, COLUMNS)
    return tl.program_id(2).to(tl.int64), top, column, tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)


@triton.jit
def _columns_there(column, width, is_channel):
    """Whether a column's left neighbour, itself and its right neighbour lie on the map."""
    inside = is_channel[None, :]
    has_left = ((column > 0) & (column <= width))[:, None] & inside
    return has_left, (column < width)[:, None] & inside, (column + 1 < width)[:, None] & inside


@triton.jit
def _three(weight, channel, inside, tap: tl.constexpr):
    """Weights of a row of taps."""
    left = tl.load(weight + channel * 9 + tap * 3, mask=inside, other=0.0).to(tl.float32)
    middle = tl.load(weight + channel * 9 + tap * 3 + 1, mask=inside, other=0.0).to(tl.float32)
    right = tl.load(weight + channel * 9 + tap * 3 + 2, mask=inside, other=0.0).to(tl.float32)
    return left[None, :], middle[None, :], right[None, :]


@triton.jit
def _silu_at(features, places, is_there):
    value = tl.load(features + places, mask=is_there, other=0.0).to(tl.float32)
    return value * tl.sigmoid(value)


@triton.jit
def _norm_silu_at(features, places, is_there, factor, offset):
    """Zero outside of the map, whatever the norm makes of a zero."""
    value = tl.load(features + places, mask=is_there, other=0.0).to(tl.float32) * factor + offset
    return tl.where(is_there, value * tl.sigmoid(value), 0.0)


@triton.jit
def _norm_silu_depthwise(
    features,
    scale,
    shift,
    weight,
    bias,
    carried,
    output,
    around,
    height,
    width,
    channels,
    AROUND: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """A tile from its top to its bottom: every row of the input is read once and added to three of the output."""
    row, top, column, channel = _tile(width, ROWS, COLUMNS, WIDTH)
    is_channel = channel < channels
    factor = tl.load(scale + row * channels + channel, mask=is_channel, other=0.0)[None, :]
    offset = tl.load(shift + row * channels + channel, mask=is_channel, other=0.0)[None, :]
    start = tl.load(bias + channel, mask=is_channel, other=0.0).to(tl.float32)[None, :]
    if AROUND:
        extra = tl.load(carried + channel, mask=is_channel, other=0.0).to(tl.float32)[None, :]
    first_left, first, first_right = _three(weight, channel, is_channel, 0)
    second_left, second, second_right = _three(weight, channel, is_channel, 1)
    third_left, third, third_right = _three(weight, channel, is_channel, 2)
    has_left, has, has_right = _columns_there(column, width, is_channel)
    above = tl.zeros((COLUMNS, WIDTH), tl.float32) + start
    here = tl.zeros((COLUMNS, WIDTH), tl.float32) + start
    for step in range(ROWS + 2):
        y = top + step - 1 + tl.zeros((COLUMNS, 1), tl.int32)  # not a scalar: Triton's interpreter spreads no booleans
        is_row = (y >= 0) & (y < height)
        places = ((row * height + y) * width + column[:, None]) * channels + channel[None, :]
        left = _norm_silu_at(features, places - channels, has_left & is_row, factor, offset)
        value = _norm_silu_at(features, places, has & is_row, factor, offset)
        right = _norm_silu_at(features, places + channels, has_right & is_row, factor, offset)
        done = above + left * third_left + value * third + right * third_right
        above = here + left * second_left + value * second + right * second_right
        here = start + left * first_left + value * first + right * first_right
        to = places - width * channels
        tl.store(
            output + to,
            tl.maximum(done, 0.0, propagate_nan=tl.PropagateNan.ALL).to(output.dtype.element_ty),
            mask=has & (y > top) & (y <= height),
        )
        if AROUND:
            is_own = has & is_row & (y >= top) & (y < top + ROWS)
            tl.store(around + places, (value + extra).to(around.dtype.element_ty), mask=is_own)


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
    COLUMNS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """As above, of two maps at once."""
    row, top, column, channel = _tile(width, ROWS, COLUMNS, WIDTH)
    is_channel = channel < channels
    start = tl.load(value_bias + channel, mask=is_channel, other=0.0).to(tl.float32)[None, :]
    gate_start = tl.load(gate_bias + channel, mask=is_channel, other=0.0).to(tl.float32)[None, :]
    first_left, first, first_right = _three(value_weight, channel, is_channel, 0)
    second_left, second, second_right = _three(value_weight, channel, is_channel, 1)
    third_left, third, third_right = _three(value_weight, channel, is_channel, 2)
    gate_first_left, gate_first, gate_first_right = _three(gate_weight, channel, is_channel, 0)
    gate_second_left, gate_second, gate_second_right = _three(gate_weight, channel, is_channel, 1)
    gate_third_left, gate_third, gate_third_right = _three(gate_weight, channel, is_channel, 2)
    has_left, has, has_right = _columns_there(column, width, is_channel)
    above = tl.zeros((COLUMNS, WIDTH), tl.float32) + start
    here = tl.zeros((COLUMNS, WIDTH), tl.float32) + start
    gate_above = tl.zeros((COLUMNS, WIDTH), tl.float32) + gate_start
    gate_here = tl.zeros((COLUMNS, WIDTH), tl.float32) + gate_start
    for step in range(ROWS + 2):
        y = top + step - 1 + tl.zeros((COLUMNS, 1), tl.int32)  # not a scalar: Triton's interpreter spreads no booleans
        is_row = (y >= 0) & (y < height)
        places = ((row * height + y) * width + column[:, None]) * channels + channel[None, :]
        left = _silu_at(values, places - channels, has_left & is_row)
        value = _silu_at(values, places, has & is_row)
        right = _silu_at(values, places + channels, has_right & is_row)
        done = above + left * third_left + value * third + right * third_right
        above = here + left * second_left + value * second + right * second_right
        here = start + left * first_left + value * first + right * first_right
        left = _silu_at(gates, places - channels, has_left & is_row)
        value = _silu_at(gates, places, has & is_row)
        right = _silu_at(gates, places + channels, has_right & is_row)
        gate = gate_above + left * gate_third_left + value * gate_third + right * gate_third_right
        gate_above = gate_here + left * gate_second_left + value * gate_second + right * gate_second_right
        gate_here = gate_start + left * gate_first_left + value * gate_first + right * gate_first_right
        done = done * gate * tl.sigmoid(gate)
        tl.store(
            output + places - width * channels, done.to(output.dtype.element_ty), mask=has & (y > top) & (y <= height)
        )
