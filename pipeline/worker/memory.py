"""Tunes how the C library reuses freed memory."""

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt in glibc
KEPT_BYTES, MAPPED_BYTES = 256 << 20, 64 << 20


def keep_freed_memory() -> None:
    """Keep freed memory in the process instead of returning it to the system.

    Otherwise every decoded picture costs twice, since the system clears and maps new pages one by one. Allocations
    larger than ``MAPPED_BYTES`` are still returned. No effect where the C library is not glibc.
    """
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
        library.mallopt(_MMAP_THRESHOLD, MAPPED_BYTES)
