"""Bounds the memory of decoded photos, however large or many they are."""

import threading


class ByteBudget:
    """A number of bytes that threads reserve before decoding and release after encoding.

    A request for more than the total reserves the total. Requests are served in order.

    Args:
        total_bytes: memory that can be reserved.
        slots: maximum number of concurrent reservations, however small.
    """

    def __init__(self, total_bytes: int, slots: int) -> None:
        self.total_bytes, self.min_bytes = total_bytes, total_bytes // slots
        self._free_bytes = total_bytes
        self._released = threading.Condition()
        self._turn = threading.Lock()

    def reserve(self, wanted_bytes: int) -> int:
        """Block until the bytes are available, reserve them, and return the amount to release."""
        reserved = min(max(wanted_bytes, self.min_bytes), self.total_bytes)
        with self._turn, self._released:
            self._released.wait_for(lambda: self._free_bytes >= reserved)
            self._free_bytes -= reserved
        return reserved

    @property
    def reserved_bytes(self) -> int:
        """Bytes that are reserved now."""
        return self.total_bytes - self._free_bytes

    def release(self, reserved_bytes: int) -> None:
        """Release what :meth:`reserve` returned."""
        with self._released:
            self._free_bytes += reserved_bytes
            self._released.notify_all()
