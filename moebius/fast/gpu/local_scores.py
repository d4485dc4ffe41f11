"""Local-λ by tiles in float16, with fewer passes than :mod:`moebius.fast.gpu.local_lambda`.

The softmax over the positions is computed in chunks, and queries are laid out and multiplied in one kernel.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from moebius.fast.gpu.local_lambda import neighbours
from moebius.fast.local_lambda import TiledLocalLambda

KEYS = 64  # channels of the keys in a program of the content
SCORE_ROWS, SCORE_COLUMNS = 128, 64  # queries and neighbours of a program of the scores; half for the widest keys


def attend_by_scores(local: TiledLocalLambda, projected: Tensor) -> Tensor:
    """Compute :meth:`TiledLocalLambda.attend` without maps that only rearrange values.

    Args:
        local: the layer, whose maps have whole tiles and whose taps are float16.
        projected: (B, H, W, C + K + V) float16, queries, keys and values, contiguous.

    Returns:
        (B, H, W, C), but tile by tile: (B, H/tile, W/tile, tile, tile, C) in memory.
    """
    rows, height, width, _ = projected.shape
    output = torch.bmm(_scores(local, projected), neighbours(local, projected, _content(local, projected)))
    return output.view(rows, height, width, local.heads * local.head_width)


def _content(local: TiledLocalLambda, projected: Tensor) -> Tensor:
    """Return softmax(keys over all positions)ᵀ·values + bias, (B, K, V).

    Each program takes the softmax over a chunk of the positions; a second kernel merges the chunks.
    """
    rows, height, width, stride = projected.shape
    key_width, positions = local.head_width, height * width
    padded = max(16, triton.next_power_of_2(key_width))
    length, keys = (64 if padded > 128 else 128), min(KEYS, padded)
    chunks, blocks = triton.cdiv(positions, length), triton.cdiv(key_width, keys)
    maxima, sums = projected.new_empty(2, rows, chunks, key_width, dtype=torch.float32)
    parts = projected.new_empty(rows, chunks, key_width, key_width, dtype=torch.float32)
    first = local.heads * key_width
    sizes = {"KEY_WIDTH": key_width, "PADDED": padded}
    _chunk_content[(chunks * blocks, rows)](
        projected, maxima, sums, parts, positions, stride, FIRST=first, LENGTH=length, KEYS=keys, **sizes
    )
    content = projected.new_empty(rows, key_width, key_width)
    _merge_content[(key_width, rows)](maxima, sums, parts, local.content_bias, content, chunks, **sizes)
    return content


def _scores(local: TiledLocalLambda, projected: Tensor) -> Tensor:
    """Return each query beside its products with the taps: (B·tiles, tile²·heads, K + neighbours)."""
    rows, height, width, stride = projected.shape
    key_width, tile, heads, taps = local.head_width, local.tile, local.heads, local.taps.shape[-1]
    tiles, padded = rows * (height // tile) * (width // tile), max(16, triton.next_power_of_2(key_width))
    part = 1 if padded <= 128 else 2
    scores = projected.new_empty(tiles, tile * tile * heads, key_width + taps)
    _ask[(triton.cdiv(tiles * heads, SCORE_ROWS // part), tile * tile)](
        projected,
        local.taps,
        scores,
        tiles,
        width,
        stride,
        HEADS=heads,
        TILE=tile,
        KEY_WIDTH=key_width,
        TAPS=taps,
        ROWS=SCORE_ROWS // part,
        COLUMNS=SCORE_COLUMNS // part,
        PADDED_KEY=padded,
        num_stages=2,
    )
    return scores


@triton.jit
def _chunk_content(
    projected,
    maxima,
    sums,
    parts,
    positions,
    stride,
    FIRST: tl.constexpr,
    LENGTH: tl.constexpr,
    KEYS: tl.constexpr,
    KEY_WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
):
    """Compute the maximum of a chunk's keys, sums of exp(key − maximum), and these weights times the values."""
    blocks = tl.cdiv(KEY_WIDTH, KEYS)
    row, chunk, chunks = tl.program_id(1).to(tl.int64), tl.program_id(0) // blocks, tl.num_programs(0) // blocks
    at = chunk * LENGTH + tl.arange(0, LENGTH)
    key, value = tl.program_id(0) % blocks * KEYS + tl.arange(0, KEYS), tl.arange(0, PADDED)
    is_there, is_key, is_value = (at < positions)[:, None], (key < KEY_WIDTH)[None, :], (value < KEY_WIDTH)[None, :]
    places = projected + (row * positions + at)[:, None] * stride + FIRST
    keys = tl.load(places + key[None, :], mask=is_there & is_key, other=0.0).to(tl.float32)
    keys = tl.where(is_there, keys, float("-inf"))
    largest = tl.max(keys, 0)
    weights = tl.exp(keys - largest[None, :])
    values = tl.load(places + KEY_WIDTH + value[None, :], mask=is_there & is_value, other=0.0)
    part = tl.dot(tl.trans(weights.to(values.dtype)), values)
    to = (row * chunks + chunk) * KEY_WIDTH + key
    tl.store(maxima + to, largest, mask=key < KEY_WIDTH)
    tl.store(sums + to, tl.sum(weights, 0), mask=key < KEY_WIDTH)
    tl.store(parts + to[:, None] * KEY_WIDTH + value[None, :], part, mask=(key < KEY_WIDTH)[:, None] & is_value)


@triton.jit
def _merge_content(maxima, sums, parts, bias, content, chunks, KEY_WIDTH: tl.constexpr, PADDED: tl.constexpr):
    """Merge the chunks of one key of one sample."""
    key, row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    value = tl.arange(0, PADDED)
    is_value = value < KEY_WIDTH
    first = row * chunks * KEY_WIDTH + key
    largest = tl.load(maxima + first)
    for chunk in range(1, chunks):
        largest = tl.maximum(largest, tl.load(maxima + first + chunk * KEY_WIDTH))
    total = tl.zeros((PADDED,), tl.float32)
    weight = 0.0
    for chunk in range(chunks):
        at = first + chunk * KEY_WIDTH
        factor = tl.exp(tl.load(maxima + at) - largest)
        weight += factor * tl.load(sums + at)
        total += factor * tl.load(parts + at * KEY_WIDTH + value, mask=is_value, other=0.0)
    total = total / weight + tl.load(bias + key).to(tl.float32)
    tl.store(content + (row * KEY_WIDTH + key) * KEY_WIDTH + value, total.to(content.dtype.element_ty), mask=is_value)


@triton.jit
def _ask(
    projected,
    taps,
    scores,
    tiles,
    width,
    stride,
    HEADS: tl.constexpr,
    TILE: tl.constexpr,
    KEY_WIDTH: tl.constexpr,
    TAPS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PADDED_KEY: tl.constexpr,
):
    """Copy the queries of one place in many tiles, and multiply them by the taps as seen from that place."""
    place = tl.program_id(1)
    number = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    tile, head = number // HEADS, number % HEADS
    is_row = (number < tiles * HEADS)[:, None]
    key = tl.arange(0, PADDED_KEY)
    is_key = key < KEY_WIDTH
    across = width // TILE
    y, x = tile // across * TILE + place // TILE, tile % across * TILE + place % TILE  # y through all maps
    at = (y * width + x).to(tl.int64) * stride + head * KEY_WIDTH
    asked = tl.load(projected + at[:, None] + key[None, :], mask=is_row & is_key[None, :], other=0.0)
    to = scores + ((tile.to(tl.int64) * TILE * TILE + place) * HEADS + head)[:, None] * (KEY_WIDTH + TAPS)
    tl.store(to + key[None, :], asked, mask=is_row & is_key[None, :])
    for first in range(0, TAPS, COLUMNS):
        tap = first + tl.arange(0, COLUMNS)
        is_tap = (tap < TAPS)[None, :]
        seen = taps + (place * KEY_WIDTH + key[:, None]) * TAPS + tap[None, :]
        seen = tl.load(seen, mask=is_key[:, None] & is_tap, other=0.0)
        score = tl.dot(asked, seen)
        tl.store(to + KEY_WIDTH + tap[None, :], score.to(scores.dtype.element_ty), mask=is_row & is_tap)
