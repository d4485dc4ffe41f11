"""Sums of channels-last maps, with a norm of them over the channels, as Triton kernels."""

import torch
import triton
import triton.language as tl
from torch import Tensor

POSITIONS, CHANNELS = 32, 64  # of a tile


def summed(first: Tensor, second: Tensor, bias: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Return first + second + bias, added in float32.

    Args:
        first: (B, H, W, C), contiguous, of any type.
        second: (B or a multiple, H, W, C), contiguous; rows of ``first`` are added to each of its parts.
        bias: (C,); ``None`` adds nothing.
        dtype: of the sum; ``None`` is that of ``first``.

    Returns:
        A map of the shape of ``second``.
    """
    channels = first.shape[-1]
    output = torch.empty_like(second, dtype=dtype or first.dtype)
    count, block = second.numel() // channels, min(CHANNELS, triton.next_power_of_2(channels))
    _summed[(triton.cdiv(count, POSITIONS) * triton.cdiv(channels, block),)](
        first,
        second,
        bias,
        output,
        count,
        first.numel() // channels,
        channels,
        SHARED=first.shape != second.shape,
        LENGTH=POSITIONS,
        WIDTH=block,
    )
    return output


def add_and_norm(
    stream: Tensor, change: Tensor | None, eps: float, dtype: torch.dtype, tile: int = 1
) -> tuple[Tensor, Tensor]:
    """Add a change to the map between layers, and norm the sum over its channels.

    Args:
        stream: (B, H, W, C), contiguous; changed in place where it has the type and as many rows as the sum.
        change: (B or a multiple, H, W, C); rows of the stream are added to each of its parts. ``None`` adds nothing.
        eps: of the norm.
        dtype: of the normed map.
        tile: side of the tiles in whose order the change lies in memory, a divisor of H and of W.

    Returns:
        The sum, float16 where the stream is and else float32, or the stream as it is; and the normed sum.
    """
    channels = stream.shape[-1]
    shape = stream.shape if change is None else change.shape
    total_dtype = stream.dtype if stream.dtype == torch.float16 else torch.float32
    is_changed_in_place = change is None or (stream.shape == shape and stream.dtype == total_dtype)
    total = stream if is_changed_in_place else stream.new_empty(shape, dtype=total_dtype)
    normed = stream.new_empty(shape, dtype=dtype)
    count = normed.numel() // channels
    width = triton.next_power_of_2(channels)
    positions = max(1, 4096 // width)
    _add_and_norm[(triton.cdiv(count, positions),)](
        stream,
        change,
        None if change is None else total,
        normed,
        count,
        stream.numel() // channels,
        channels,
        shape[-2],
        eps,
        TILE=tile,
        POSITIONS=positions,
        WIDTH=width,
    )
    return total, normed


@triton.jit
def _summed(
    first,
    second,
    bias,
    output,
    count,
    own,
    channels,
    SHARED: tl.constexpr,
    LENGTH: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Add two maps; neighbouring programs work on channels of the same positions, which are neighbours in memory."""
    blocks = tl.cdiv(channels, WIDTH)
    at = (tl.program_id(0) // blocks).to(tl.int64) * LENGTH + tl.arange(0, LENGTH)
    channel = tl.program_id(0) % blocks * WIDTH + tl.arange(0, WIDTH)
    inside = channel < channels
    is_there = (at < count)[:, None] & inside[None, :]
    places = at[:, None] * channels + channel[None, :]
    if SHARED:
        total = tl.load(first + (at % own)[:, None] * channels + channel[None, :], mask=is_there, other=0.0)
    else:
        total = tl.load(first + places, mask=is_there, other=0.0)
    total = total.to(tl.float32)
    total += tl.load(second + places, mask=is_there, other=0.0).to(tl.float32)
    if bias is not None:
        total += tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)[None, :]
    tl.store(output + places, total.to(output.dtype.element_ty), mask=is_there)


@triton.jit
def _add_and_norm(
    stream,
    change,
    total,
    normed,
    count,
    own,
    channels,
    width,
    eps,
    TILE: tl.constexpr,
    POSITIONS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    at = tl.program_id(0).to(tl.int64) * POSITIONS + tl.arange(0, POSITIONS)
    channel = tl.arange(0, WIDTH)
    inside = (channel < channels)[None, :]
    is_there = (at < count)[:, None] & inside
    places = at[:, None] * channels + channel[None, :]
    value = tl.load(stream + (at % own)[:, None] * channels + channel[None, :], mask=is_there, other=0.0)
    value = value.to(tl.float32)
    if change is not None:
        changed = at
        if TILE > 1:
            row, column = at // width, at % width  # a row of any sample
            of_tile = row // TILE * (width // TILE) + column // TILE
            changed = (of_tile * TILE + row % TILE) * TILE + column % TILE
        value += tl.load(change + changed[:, None] * channels + channel[None, :], mask=is_there, other=0.0).to(
            tl.float32
        )
        tl.store(total + places, value.to(total.dtype.element_ty), mask=is_there)
    mean = tl.sum(value, 1) / channels
    rest = tl.where(inside, value - mean[:, None], 0.0)
    factor = 1.0 / tl.sqrt(tl.sum(rest * rest, 1) / channels + eps)
    tl.store(normed + places, (rest * factor[:, None]).to(normed.dtype.element_ty), mask=is_there)
