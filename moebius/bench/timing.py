"""Times of calls on a device, until their results are complete."""

import statistics
import time
from collections.abc import Callable

import torch

MAX_CALLS = 50
LONG_S = 20.0  # of a call, beside which compiling and caching do not count


def time_calls(call: Callable[[], object], device: torch.device, min_s: float) -> list[float]:
    """Time calls for about ``min_s``, at least one; a first call only counts if it takes longer than ``LONG_S``."""
    spent = [_seconds(call, device)]
    if spent[0] > LONG_S:
        return spent
    for _ in range(max(1, min(MAX_CALLS, int(min_s / spent[0])))):
        spent.append(_seconds(call, device))
    return spent[1:]


def median_s(call: Callable[[], object], device: torch.device, min_s: float) -> float:
    """Return the median time of a call, which is to be expected."""
    return statistics.median(time_calls(call, device, min_s))


def fastest_s(call: Callable[[], object], device: torch.device, min_s: float) -> float:
    """Return the time of the fastest call, which other programs disturbed least."""
    return min(time_calls(call, device, min_s))


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    _finish(device)
    started = time.perf_counter()
    call()
    _finish(device)
    return time.perf_counter() - started


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
