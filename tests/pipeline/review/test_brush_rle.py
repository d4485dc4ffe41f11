import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.review.brush_rle import decode_rle, encode_rle

# A mask of 7x5 pixels as label-studio-sdk encodes it, and with other colours under the same opacity, in raw blocks.
OF_THEIRS = [0, 0, 0, 140, 57, 27, 254, 35, 0, 191, 255, 108, 2, 255, 254, 31, 0, 143, 255, 11, 128, 0]


def mask_of_theirs() -> np.ndarray:
    mask = np.zeros((5, 7), bool)
    mask[1:3, 2:6] = True
    mask[4, 0] = True
    return mask


def in_raw_blocks(mask: np.ndarray) -> list[int]:
    """One block of values, as an encoder writes them where nothing repeats."""
    values = np.repeat(mask.ravel() * 255, 4).reshape(-1, 4)
    values[:, :3] = [3, 200, 77]
    bits = f"{values.size:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}" + f"011{values.size - 1:016b}"
    bits += "".join(f"{value:08b}" for value in values.ravel().tolist())
    return np.packbits(np.frombuffer(bits.encode(), np.uint8) - ord("0")).tolist()


def test_run_lengths_of_label_studio_are_read():
    assert np.array_equal(decode_rle(OF_THEIRS, 7, 5), mask_of_theirs())
    assert np.array_equal(decode_rle(in_raw_blocks(mask_of_theirs()), 7, 5), mask_of_theirs())


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32), st.floats(0, 1))
def test_mask_comes_back_as_it_was(height, width, seed, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    assert np.array_equal(decode_rle(encode_rle(mask), width, height), mask)


def test_run_that_is_longer_than_a_length_holds_comes_back():
    mask = np.zeros((300, 400), bool)
    mask[250:, :] = True
    encoded = encode_rle(mask)
    assert np.array_equal(decode_rle(encoded, 400, 300), mask) and len(encoded) < 50


@pytest.mark.parametrize(
    ("data", "size", "message"),
    [
        (OF_THEIRS, (5, 5), "140 values, but 5x5 pixels have 100"),
        (OF_THEIRS[:-4], (7, 5), "end after"),
        ([], (7, 5), "end after 0 bits"),
        ([0, 0, 0, 4, 57, 27, 255, 255, 255, 255, 255], (1, 1), "a block ends at value"),
        ([0, 0, 0, 4, 255, 255, 255, 255], (1, 1), "must have 8 bits"),
    ],
)
def test_damaged_run_lengths_are_refused(data, size, message):
    with pytest.raises(ValueError, match=message):
        decode_rle(data, *size)
