"""Sums of channels-last maps, with a norm of them over the channels, as Triton kernels."""

import torch
import triton
import triton.language as tl
from torch import Tensor

CHANNELS = 64  # of a tile


def summed(first: Tensor, second: Tensor, bias: Tensor) -> Tensor:
    """first + second + bias: twice (B, H, W, C), contiguous, and (C,) → (B, H, W, C) of their type."""
    channels = first.shape[-1]
    output = torch.empty_like(first)
    count, block = first.numel() // channels, min(CHANNELS, triton.next_power_of_2(channels))
    _summed[(triton.cdiv(count, 32), triton.cdiv(channels, block))](
        first, second, bias, output, count, channels, LENGTH=32, WIDTH=block
    )
    return output


def add_and_norm(stream: Tensor, change: Tensor | None, eps: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Add a change to the map between layers, and norm the sum over its channels.

    Args:
        stream: (B, H, W, C) float32, contiguous; changed in place where it has as many rows as the sum.
        change: (B or a multiple, H, W, C); rows of the stream serve each of its parts. ``None`` adds nothing.
        eps: of the norm.
        dtype: of the normed map.

    Returns:
        The sum, float32, and the normed sum.
    """
    channels = stream.shape[-1]
    shape = stream.shape if change is None else change.shape
    total = stream if stream.shape == shape else stream.new_empty(shape)
    normed = stream.new_empty(shape, dtype=dtype)
    count = normed.numel() // channels
    width = triton.next_power_of_2(channels)
    positions = max(1, 4096 // width)
    _add_and_norm[(triton.cdiv(count, positions),)](
        stream,
        stream if change is None else change,
        total,
        normed,
        count,
        stream.numel() // channels,
        channels,
        eps,
        CHANGES=change is not None,
        POSITIONS=positions,
        WIDTH=width,
    )
    return total, normed


@triton.jit
def _summed(first, second, bias, output, count, channels, LENGTH: tl.constexpr, WIDTH: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * LENGTH + tl.arange(0, LENGTH)
    channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    inside = channel < channels
    is_there = (at < count)[:, None] & inside[None, :]
    places = at[:, None] * channels + channel[None, :]
    total = tl.load(first + places, mask=is_there, other=0.0).to(tl.float32)
    total += tl.load(second + places, mask=is_there, other=0.0).to(tl.float32)
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
    eps,
    CHANGES: tl.constexpr,
    POSITIONS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    at = tl.program_id(0).to(tl.int64) * POSITIONS + tl.arange(0, POSITIONS)
    channel = tl.arange(0, WIDTH)
    inside = (channel < channels)[None, :]
    is_there = (at < count)[:, None] & inside
    places = at[:, None] * channels + channel[None, :]
    value = tl.load(stream + (at % own)[:, None] * channels + channel[None, :], mask=is_there, other=0.0)
    if CHANGES:
        value += tl.load(change + places, mask=is_there, other=0.0).to(tl.float32)
        tl.store(total + places, value, mask=is_there)
    mean = tl.sum(value, 1) / channels
    rest = tl.where(inside, value - mean[:, None], 0.0)
    factor = 1.0 / tl.sqrt(tl.sum(rest * rest, 1) / channels + eps)
    tl.store(normed + places, (rest * factor[:, None]).to(normed.dtype.element_ty), mask=is_there)
