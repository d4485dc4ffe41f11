"""Local-λ by tiles for GPUs: Triton kernels that gather its neighbours and lay out its queries for products."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from moebius.fast.local_lambda import TiledLocalLambda

MAX_TILE = 4096  # neighbours, or queries, of a program times their width


def attend(local: TiledLocalLambda, projected: Tensor) -> Tensor:
    """Compute :meth:`TiledLocalLambda.attend`, with maps copied once and rounded on the way.

    Args:
        local: the layer, whose maps have whole tiles.
        projected: (B, H, W, C + K + V), queries, keys and values, contiguous.

    Returns:
        (B, H, W, C), but tile by tile: (B, H/tile, W/tile, tile, tile, C) in memory.
    """
    rows, height, width, stride = projected.shape
    heads, key_width, tile, taps = local.heads, local.head_width, local.tile, local.taps
    channels, tiles = heads * key_width, height // tile * (width // tile)
    keys, values = projected[..., channels:].to(taps.dtype).flatten(1, 2).chunk(2, dim=-1)
    content = torch.bmm(keys.softmax(dim=1).mT, values) + local.content_bias
    length, padded = key_width + taps.shape[-1], triton.next_power_of_2(key_width)
    block = max(1, MAX_TILE // padded)
    scores = taps.new_empty(tile * tile, heads * rows * tiles, length)
    asked, met = scores.split([key_width, taps.shape[-1]], dim=-1)
    _place[(triton.cdiv(rows * height * width, block) * heads,)](
        projected,
        asked,
        rows * height * width,
        width,
        stride,
        heads,
        rows * tiles,
        TILE=tile,
        KEY_WIDTH=key_width,
        LENGTH=length,
        BLOCK=block,
        PADDED_KEY=padded,
    )
    torch.bmm(asked, taps, out=met)
    of_tiles = scores.view(tile * tile * heads, rows * tiles, length).transpose(0, 1)
    return torch.bmm(of_tiles, neighbours(local, projected, content)).view(rows, height, width, channels)


def neighbours(local: TiledLocalLambda, projected: Tensor, content: Tensor) -> Tensor:
    """Gather the content and the values around each tile.

    Args:
        local: the layer.
        projected: (B, H, W, C + K + V), queries, keys and values, contiguous.
        content: (B, K, V).

    Returns:
        (B·tiles, K + neighbours, V), of the type of the taps.
    """
    rows, height, width, stride = projected.shape
    key_width, tile, length = local.head_width, local.tile, local.head_width + local.taps.shape[-1]
    tiles, padded = height // tile * (width // tile), triton.next_power_of_2(key_width)
    block = max(1, MAX_TILE // padded)
    gathered = local.taps.new_empty(rows * tiles, length, key_width)
    _gather[(tiles * triton.cdiv(length, block), rows)](
        projected,
        content,
        gathered,
        height,
        width,
        stride,
        FIRST=(local.heads + 1) * key_width,
        TILE=tile,
        SIDE=tile + local.window - 1,
        REACH=local.window // 2,
        KEY_WIDTH=key_width,
        LENGTH=length,
        BLOCK=block,
        PADDED_KEY=padded,
    )
    return gathered


@triton.jit
def _gather(
    projected,
    content,
    neighbours,
    height,
    width,
    stride,
    FIRST: tl.constexpr,
    TILE: tl.constexpr,
    SIDE: tl.constexpr,
    REACH: tl.constexpr,
    KEY_WIDTH: tl.constexpr,
    LENGTH: tl.constexpr,
    BLOCK: tl.constexpr,
    PADDED_KEY: tl.constexpr,
):
    """Gather content, the values in the square around a tile (0 outside of the map), and zeros."""
    blocks = tl.cdiv(LENGTH, BLOCK)
    row, tile, across = tl.program_id(1).to(tl.int64), tl.program_id(0) // blocks, width // TILE
    number = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    key = tl.arange(0, PADDED_KEY)
    is_key = (key < KEY_WIDTH)[None, :]
    neighbour = number - KEY_WIDTH
    y = tile // across * TILE + neighbour // SIDE - REACH
    x = tile % across * TILE + neighbour % SIDE - REACH
    is_there = (neighbour >= 0) & (neighbour < SIDE * SIDE) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    places = ((row * height + y) * width + x)[:, None] * stride + FIRST + key[None, :]
    value = tl.load(projected + places, mask=is_there[:, None] & is_key, other=0.0).to(tl.float32)
    places = (row * KEY_WIDTH + number)[:, None] * KEY_WIDTH + key[None, :]
    value += tl.load(content + places, mask=(number < KEY_WIDTH)[:, None] & is_key, other=0.0).to(tl.float32)
    tiles = tl.num_programs(0) // blocks
    places = ((row * tiles + tile) * LENGTH + number)[:, None] * KEY_WIDTH + key[None, :]
    is_own = (number < LENGTH)[:, None] & is_key
    tl.store(neighbours + places, value.to(neighbours.dtype.element_ty), mask=is_own)


@triton.jit
def _place(
    projected,
    asked,
    positions,
    width,
    stride,
    heads,
    tiles,
    TILE: tl.constexpr,
    KEY_WIDTH: tl.constexpr,
    LENGTH: tl.constexpr,
    BLOCK: tl.constexpr,
    PADDED_KEY: tl.constexpr,
):
    """Store queries in the order of their place in a tile, their head and their tile; maps have whole tiles."""
    head = tl.program_id(0) % heads
    at = tl.program_id(0) // heads * BLOCK + tl.arange(0, BLOCK)
    key = tl.arange(0, PADDED_KEY)
    is_there = (at < positions)[:, None] & (key < KEY_WIDTH)[None, :]
    value = tl.load(
        projected + at.to(tl.int64)[:, None] * stride + head * KEY_WIDTH + key[None, :], mask=is_there, other=0.0
    )
    y, x = at // width, at % width  # y through all maps
    tile, place = y // TILE * (width // TILE) + x // TILE, y % TILE * TILE + x % TILE
    row = (place * heads + head).to(tl.int64) * tiles + tile
    tl.store(asked + row[:, None] * LENGTH + key[None, :], value.to(asked.dtype.element_ty), mask=is_there)
