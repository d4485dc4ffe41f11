"""Interactive-λ with known contexts as one Triton kernel."""

import torch
import triton
import triton.language as tl
from torch import Tensor

MAX_TILE = 4096  # queries of one position times their width, in one program: more would not fit the registers


def meet_contexts(queries: Tensor, table: Tensor, values: Tensor, samples: int) -> Tensor:
    """Multiply every position's queries by its keys, and these weights by the values.

    Args:
        queries: (branches·samples, H, W, heads·K), or (samples, …) while all branches agree; contiguous.
        table: (branches, H·W, K, L).
        values: (branches, L, V), with V = K.
        samples: number of samples.

    Returns:
        (branches·samples, H, W, heads·V).
    """
    rows, height, width, channels = queries.shape
    branches, positions, key_width, length = table.shape
    output = queries.new_empty(branches * samples, height, width, channels)
    count = samples * (channels // key_width)
    padded = max(16, triton.next_power_of_2(key_width))
    block = max(16, min(MAX_TILE // padded, triton.next_power_of_2(count)))
    _meet_contexts[(positions, triton.cdiv(count, block), branches)](
        queries,
        table,
        values,
        output,
        positions,
        samples,
        channels // key_width,
        0 if rows == samples else samples,
        KEY_WIDTH=key_width,
        LENGTH=length,
        QUERIES=block,
        PADDED_KEY=padded,
        PADDED_LENGTH=max(16, triton.next_power_of_2(length)),
        EXACT=queries.dtype == torch.float32,
    )
    return output


@triton.jit
def _meet_contexts(
    queries,
    table,
    values,
    output,
    positions,
    samples,
    heads,
    branch_rows,
    KEY_WIDTH: tl.constexpr,
    LENGTH: tl.constexpr,
    QUERIES: tl.constexpr,
    PADDED_KEY: tl.constexpr,
    PADDED_LENGTH: tl.constexpr,
    EXACT: tl.constexpr,
):
    """Compute the queries of all samples and heads at one position."""
    position, branch = tl.program_id(0), tl.program_id(2)
    query = tl.program_id(1) * QUERIES + tl.arange(0, QUERIES)
    sample, head = query // heads, query % heads
    key, token = tl.arange(0, PADDED_KEY), tl.arange(0, PADDED_LENGTH)
    is_key, is_token = key < KEY_WIDTH, token < LENGTH
    is_there = (query < samples * heads)[:, None] & is_key[None, :]
    channel = head[:, None] * KEY_WIDTH + key[None, :]
    row = (branch * branch_rows + sample).to(tl.int64)
    places = (row * positions + position)[:, None] * (heads * KEY_WIDTH) + channel
    asked = tl.load(queries + places, mask=is_there, other=0.0)
    at = ((branch * positions + position) * KEY_WIDTH + key[:, None]) * LENGTH + token[None, :]
    keys = tl.load(table + at, mask=is_key[:, None] & is_token[None, :], other=0.0)
    at = (branch * LENGTH + token[:, None]) * KEY_WIDTH + key[None, :]
    given = tl.load(values + at, mask=is_token[:, None] & is_key[None, :], other=0.0)
    if EXACT:
        weights = tl.dot(asked, keys, input_precision="ieee")
        answer = tl.dot(weights, given, input_precision="ieee")
    else:
        weights = tl.dot(asked, keys).to(asked.dtype)
        answer = tl.dot(weights, given)
    row = (branch * samples + sample).to(tl.int64)
    places = (row * positions + position)[:, None] * (heads * KEY_WIDTH) + channel
    tl.store(output + places, answer.to(output.dtype.element_ty), mask=is_there)
