"""How the C library treats freed memory."""

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt in glibc
KEPT_BYTES, MAPPED_BYTES = 256 << 20, 64 << 20


def keep_freed_memory() -> None:
    """Reuse the memory of arrays rather than return it to the system at once.

    Otherwise every decoded picture is paid for twice, since the system hands out new pages one by one and cleared. What
    is larger than ``MAPPED_BYTES`` is still returned. Without effect where the C library is not glibc.
    """
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
        library.mallopt(_MMAP_THRESHOLD, MAPPED_BYTES)
