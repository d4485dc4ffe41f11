"""Threads on CPUs that compute one batch each, as those of a job do.

Several threads that share one operation wait for each other at its end: where other programs use the same cores, each
waits for the slowest, and the last bits of results depend on their number. Separate batches avoid both.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from threading import Barrier
from typing import TypeVar

import torch

from moebius.hardware import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")


def max_threads() -> int:
    """Return how many threads may compute at once: PyTorch's number, but no more than there are cores."""
    return min(torch.get_num_threads(), usable_cores())


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let PyTorch compute with ``count`` threads inside this context."""
    usual = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


def compute_each(work: Callable[[Item], Result], items: Sequence[Item], threads: int) -> Iterator[tuple[Item, Result]]:
    """Compute every item with one thread of PyTorch, several at once, and yield each with its result when it is done.

    The caller's own number of threads stays as it is.

    Args:
        work: function of an item.
        items: started in this order; they may finish in any.
        threads: items at once, at least 1.

    Raises:
        Exception: the first that ``work`` raised; items that were not started by then never are.
    """
    if torch.get_num_threads() == 1 and (threads == 1 or len(items) == 1):
        for item in items:
            yield item, work(item)
        return
    count, usual = min(threads, len(items)), torch.get_num_threads()
    begun = Barrier(count + 1)

    def begin() -> None:
        torch.get_num_threads()  # else the first operation of a thread takes the number of the whole process
        torch.set_num_threads(1)
        begun.wait()

    with ThreadPoolExecutor(count, initializer=begin) as pool:
        futures = {pool.submit(work, item): item for item in items}
        begun.wait()
        torch.set_num_threads(usual)  # what threads begin with that others start
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
