"""Run lengths of Label Studio's brush: those of the package ``rle-pack``, over the RGBA values of a picture.

A stream of bits, the most significant first: 32 bits for the number of values; 5 for the bits of a value less one; four
times 4 for the bits of a length less one. Then blocks: one bit, set for a run of one value; 2 bits that say which of
the four sizes the length has; the length less one; the value of a run, or as many values as the length says.
"""

import numpy as np

CHANNELS, OPAQUE, HALF = 4, 255, 128
WORD_BITS = 8
LENGTH_BITS = (4, 8, 12, 16)
_COUNT_BITS, _WORD_FIELD, _LENGTH_FIELD, _CHOICE_BITS = 32, 5, 4, 2


def encode_rle(mask: np.ndarray) -> list[int]:
    """Encode a mask, (H, W) bool, as bytes; marked pixels are white and opaque, others black and transparent."""
    flat = mask.ravel()
    edges = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    bits = [f"{flat.size * CHANNELS:0{_COUNT_BITS}b}", f"{WORD_BITS - 1:0{_WORD_FIELD}b}"]
    bits += [f"{size - 1:0{_LENGTH_FIELD}b}" for size in LENGTH_BITS]
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        value = f"{OPAQUE if flat[start] else 0:0{WORD_BITS}b}"
        bits += [_run(length) + value for length in _pieces((end - start) * CHANNELS)]
    text = "".join(bits)
    return np.packbits(np.frombuffer(text.encode(), np.uint8) - ord("0")).tolist()


def decode_rle(data: list[int], width: int, height: int) -> np.ndarray:
    """Decode bytes to a mask, (height, width) bool: the pixels that are at least half opaque.

    Raises:
        ValueError: they are cut off, or hold another number of values than the size says.
    """
    bits = np.unpackbits(np.frombuffer(bytes(data), np.uint8))
    reader = _Bits((bits + ord("0")).tobytes().decode())
    count = reader.number(_COUNT_BITS)
    if count != width * height * CHANNELS:
        raise ValueError(f"{count} values, but {width}x{height} pixels have {width * height * CHANNELS}")
    if reader.number(_WORD_FIELD) + 1 != WORD_BITS:
        raise ValueError(f"values must have {WORD_BITS} bits")
    sizes = [reader.number(_LENGTH_FIELD) + 1 for _ in LENGTH_BITS]
    values, done = np.zeros(count, np.uint8), 0
    while done < count:
        is_run = reader.number(1)
        end = done + reader.number(sizes[reader.number(_CHOICE_BITS)]) + 1
        if end > count:
            raise ValueError(f"a block ends at value {end} of {count}")
        if is_run:
            values[done:end] = reader.number(WORD_BITS)
        else:
            raw = bits[reader.at : reader.at + (end - done) * WORD_BITS]
            reader.skip((end - done) * WORD_BITS)
            values[done:end] = np.packbits(raw)
        done = end
    return values[CHANNELS - 1 :: CHANNELS].reshape(height, width) >= HALF


def _pieces(length: int) -> list[int]:
    longest = 1 << LENGTH_BITS[-1]
    whole, rest = divmod(length, longest)
    return [longest] * whole + [rest] * (rest > 0)


def _run(length: int) -> str:
    choice = next(index for index, size in enumerate(LENGTH_BITS) if length <= 1 << size)
    return f"1{choice:0{_CHOICE_BITS}b}{length - 1:0{LENGTH_BITS[choice]}b}"


class _Bits:
    """Reads numbers from a text of zeros and ones."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def skip(self, count: int) -> None:
        self.at += count
        if self.at > len(self.text):
            raise ValueError(f"the run lengths end after {len(self.text)} bits")

    def number(self, count: int) -> int:
        start = self.at
        self.skip(count)
        return int(self.text[start : self.at], 2)
