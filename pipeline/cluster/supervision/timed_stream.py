"""Iterate with a time-out: waiting for the next item does not block the consumer."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
CLOSE_S = 5.0  # are given to the thread of an iterator to close it


def by_clock(items: Iterable[T], tick_s: float) -> Iterator[T | None]:
    """Yield items as they arrive, and ``None`` whenever ``tick_s`` seconds pass without one.

    A background thread draws the items. When this generator is closed early, that thread closes the iterator after the
    item that it is waiting for.

    Raises:
        BaseException: whatever the iterator raises.
    """
    drawing = _Drawing(items)
    try:
        while True:
            try:
                item = drawing.ready.get(timeout=tick_s)
            except queue.Empty:
                yield None
                continue
            if item is drawing.end:
                break
            yield item  # type: ignore[misc]  # the end has another type
        if drawing.error:
            raise drawing.error
    finally:
        drawing.stop()


class _Drawing(Generic[T]):
    """Background thread that draws the items."""

    def __init__(self, items: Iterable[T]) -> None:
        self.ready: queue.Queue[T | object] = queue.Queue()
        self.end = object()
        self.error: BaseException | None = None
        self._items = items
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop drawing."""
        self._stopped.set()
        self._thread.join(CLOSE_S)

    def _draw(self) -> None:
        try:
            for item in self._items:
                self.ready.put(item)
                if self._stopped.is_set():
                    break  # which closes a generator, as its last reference goes
        except BaseException as error:  # noqa: BLE001 - raised where the items are wanted
            self.error = error
        finally:
            self._items = ()
            self.ready.put(self.end)
