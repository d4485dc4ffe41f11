"""Bounds what is decoded at the same time, so that neither huge photos nor many of them fill the memory."""

import threading


class ByteBudget:
    """A number of bytes that threads take before they decode and give back when they have encoded.

    One that asks for more than there is gets everything, alone; those that ask later wait behind it.

    Args:
        total_bytes: how much can be taken.
        slots: how many can hold a part at the same time, however small.
    """

    def __init__(self, total_bytes: int, slots: int) -> None:
        self.total_bytes, self.min_bytes = total_bytes, total_bytes // slots
        self._free_bytes = total_bytes
        self._returned = threading.Condition()
        self._turn = threading.Lock()

    def take(self, wanted_bytes: int) -> int:
        """Wait until so much is free, take it, and say how much to give back."""
        taken = min(max(wanted_bytes, self.min_bytes), self.total_bytes)
        with self._turn, self._returned:
            self._returned.wait_for(lambda: self._free_bytes >= taken)
            self._free_bytes -= taken
        return taken

    @property
    def taken_bytes(self) -> int:
        """How much is taken now."""
        return self.total_bytes - self._free_bytes

    def give_back(self, taken_bytes: int) -> None:
        """Return what :meth:`take` said."""
        with self._returned:
            self._free_bytes += taken_bytes
            self._returned.notify_all()
