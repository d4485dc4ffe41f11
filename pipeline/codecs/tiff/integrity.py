"""Checks that the strips and tiles of a TIFF file are intact, where libtiff silently fills missing data."""

import zlib
from collections.abc import Callable, Sequence

import imagecodecs
import numpy as np
from PIL import TiffImagePlugin
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    IMAGELENGTH,
    IMAGEWIDTH,
    JPEGTABLES,
    ROWSPERSTRIP,
    SAMPLESPERPIXEL,
    STRIPBYTECOUNTS,
    STRIPOFFSETS,
    TILEBYTECOUNTS,
    TILELENGTH,
    TILEOFFSETS,
    TILEWIDTH,
)

from pipeline.codecs.jpeg.pixels import decode_jpeg
from pipeline.codecs.jpeg.scans import read_frame
from pipeline.errors import MACHINE_ERRORS, SampleError

_GROUP_4, _JPEG = 4, 7
_DEFLATE = (8, 32946)
_JPEG_MODES = {1: "L", 3: "RGB", 4: "CMYK"}  # by components
_AT_ONCE_BYTES, _TILE_PX = 1 << 20, 4096
_START_OF_IMAGE, _END_OF_IMAGE = b"\xff\xd8", b"\xff\xd9"


def check_pieces(image: TiffImagePlugin.TiffImageFile, data: bytes, stage: str) -> None:
    """Check the strips or tiles of a TIFF.

    Not seen is damage in what has no checks of its own: pixels that are not compressed, and fax codes of group 3.

    Raises:
        SampleError: one is left out, cut short or damaged.
    """
    tags = image.tag_v2
    offsets = tags.get(STRIPOFFSETS) or tags.get(TILEOFFSETS) or ()
    counts = tags.get(STRIPBYTECOUNTS) or tags.get(TILEBYTECOUNTS) or ()
    if absent := sum(1 for offset in offsets if not offset):
        message = f"TIFF is sparse: {absent} of its {len(offsets)} strips or tiles are not in the file"
        raise SampleError(stage, "BrokenImage", message)
    if TILEOFFSETS in tags:  # of a strip the rest of its length may be unused
        _check_ends(offsets, counts, len(data), stage)
    compression = tags.get(COMPRESSION, 1)
    if compression == _GROUP_4:
        _check_by_libtiff(data, stage)
    elif compression in _DEFLATE or compression == _JPEG:
        tables = bytes(tags.get(JPEGTABLES, b""))
        check = _deflate_check(image, stage) if compression in _DEFLATE else _jpeg_check(tables, stage)
        for offset, count in zip(offsets, counts, strict=False):
            if count:  # else libtiff finds out
                check(data[offset : offset + count])


def _check_ends(offsets: Sequence[int], counts: Sequence[int], file_bytes: int, stage: str) -> None:
    ends = [offset + count for offset, count in zip(offsets, counts, strict=False)]
    if max(ends, default=0) > file_bytes:
        message = f"TIFF is truncated: a tile ends at byte {max(ends)} of {file_bytes}"
        raise SampleError(stage, "TruncatedImage", message)


def _deflate_check(image: TiffImagePlugin.TiffImageFile, stage: str) -> Callable[[bytes], None]:
    unpacked = np.empty(_piece_bytes(image), np.uint8)

    def check(piece: bytes) -> None:
        try:
            imagecodecs.deflate_decode(piece, raw=False, out=unpacked)  # type: ignore[arg-type]
        except imagecodecs.DeflateError:  # damaged, or more than is expected
            _check_by_zlib(piece, 2 * unpacked.size, stage)

    return check


def _piece_bytes(image: TiffImagePlugin.TiffImageFile) -> int:
    """Return the maximum number of decompressed bytes of a strip or tile."""
    tags = image.tag_v2
    columns = tags.get(TILEWIDTH, tags[IMAGEWIDTH])
    rows = tags.get(
        TILELENGTH,
        min(tags.get(ROWSPERSTRIP, tags[IMAGELENGTH]), tags[IMAGELENGTH]),
    )
    max_pixels = (tags[IMAGEWIDTH] + _TILE_PX) * (tags[IMAGELENGTH] + _TILE_PX)  # whatever the tags of a tile say
    return min(columns * rows, max_pixels) * tags.get(SAMPLESPERPIXEL, 1) * max(tags.get(BITSPERSAMPLE, (1,))) // 8 + 1


def _check_by_zlib(piece: bytes, max_bytes: int, stage: str) -> None:
    stream, rest, unpacked = zlib.decompressobj(), piece, 0
    try:
        while not stream.eof and unpacked < max_bytes:
            part, rest = stream.decompress(rest, _AT_ONCE_BYTES), stream.unconsumed_tail
            unpacked += len(part)
            if not part and not rest and not stream.eof:
                raise SampleError(stage, "TruncatedImage", "TIFF is truncated: a strip or tile ends early")
    except zlib.error as error:
        raise SampleError(stage, "BrokenImage", f"TIFF has damaged pixels: {error}") from error


def _jpeg_check(tables: bytes, stage: str) -> Callable[[bytes], None]:
    before = tables.removesuffix(_END_OF_IMAGE) or _START_OF_IMAGE

    def check(piece: bytes) -> None:
        jpeg = before + piece.removeprefix(_START_OF_IMAGE)
        mode = _JPEG_MODES.get(next(iter(read_frame(jpeg)[1][5:6]), 0))
        if mode:
            decode_jpeg(jpeg, mode, stage)

    return check


def _check_by_libtiff(data: bytes, stage: str) -> None:
    """Let imagecodecs decode, which fails where libtiff reports an error that Pillow passes over."""
    try:
        imagecodecs.tiff_decode(data, index=0)
    except MACHINE_ERRORS:
        raise
    except Exception as error:
        raise SampleError(stage, "BrokenImage", f"TIFF has damaged pixels: {error}") from error
