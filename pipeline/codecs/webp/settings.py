"""WebP as a codec: reads the compression settings of files."""

from itertools import repeat

from PIL import Image

from pipeline.codecs.codec import Codec, Settings
from pipeline.codecs.webp.chunks import read_chunks

DEFAULT_QUALITY = 90


def estimate_quality(data: bytes) -> int | None:
    """About the quality (0 … 100) that libwebp was told to encode with; ``None`` for a lossless file.

    Source: RFC 6386 (section 9.3, 9.6, 19.2) for the header; libwebp's ``QualityToCompression`` for the formula.
    """
    for name, frame in read_chunks(data):
        if name == b"VP8L":
            return None
        if name == b"VP8 ":
            try:
                return _quality(_quantizers(frame))
            except (IndexError, ValueError):
                return DEFAULT_QUALITY
    return None


def _quality(quantizers: list[int]) -> int:
    compression = 1 - sum(quantizers) / len(quantizers) / 127
    linear = compression**3
    return round(100 * (1.5 * linear if linear < 0.5 else (linear + 1) / 2))


def _quantizers(frame: bytes) -> list[int]:
    """The quantizer index of each segment of a key frame, 0 (finest) … 127."""
    if frame[0] & 1 or frame[3:6] != b"\x9d\x01\x2a":
        raise ValueError("no key frame")
    bits = _BoolDecoder(frame[10:])
    bits.read(2)  # colour space, clamping
    values, absolute = [0], False
    if bits.read(1):  # segments
        has_map, has_values = bits.read(1), bits.read(1)
        if has_values:
            absolute = bool(bits.read(1))
            values = [bits.optional(7) for _ in repeat(None, 4)]
            for _ in repeat(None, 4):
                bits.optional(6)
        if has_map:
            for _ in repeat(None, 3):
                _ = bits.read(1) and bits.read(8)
    bits.read(1 + 6 + 3)  # loop filter
    if bits.read(1) and bits.read(1):
        for _ in repeat(None, 8):
            bits.optional(6)
    bits.read(2)  # partitions
    base = bits.read(7)
    return [min(max(value if absolute else base + value, 0), 127) for value in values]


class _BoolDecoder:
    """The arithmetic decoder of VP8, for bits that are as likely 0 as 1."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 2
        self._value, self._range, self._shifts = int.from_bytes(data[:2], "big"), 255, 0

    def read(self, count: int) -> int:
        """An unsigned number of so many bits."""
        number = 0
        for _ in range(count):
            number = 2 * number + self._bit()
        return number

    def optional(self, count: int) -> int:
        """A flag and, where it is set, a number of so many bits and its sign; else zero."""
        if not self.read(1):
            return 0
        number = self.read(count)
        return -number if self.read(1) else number

    def _bit(self) -> int:
        split = 1 + ((self._range - 1) * 128 >> 8)
        bit = int(self._value >= split << 8)
        self._value -= bit * (split << 8)
        self._range = self._range - split if bit else split
        while self._range < 128:
            self._value, self._range, self._shifts = self._value << 1, self._range << 1, self._shifts + 1
            if self._shifts % 8 == 0:
                self._value |= self._data[self._position]
                self._position += 1
        return bit


class WebpCodec(Codec):
    """WebP of about the quality of its source, or lossless."""

    def keep(self, image: Image.Image, data: bytes, kept: Settings) -> None:
        """See :class:`pipeline.codecs.codec.Codec`."""
        kept["quality"] = estimate_quality(data)

    def settings(self, source: Settings) -> Settings:
        """See :class:`pipeline.codecs.codec.Codec`."""
        if source.get("quality") is None:
            return {"lossless": True, "exact": True, "method": 0}
        return {"quality": source["quality"]}
