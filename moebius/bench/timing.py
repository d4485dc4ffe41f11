"""Time calls of a device, to their end."""

import statistics
import time
from collections.abc import Callable

import torch

MAX_CALLS = 50
LONG_S = 20.0  # of a call: what comes first in it is nothing beside the rest


def time_calls(call: Callable[[], object], device: torch.device, min_s: float) -> list[float]:
    """Seconds of each of so many calls as take ``min_s``, at least one, after one that only counts if it is long."""
    spent = [_seconds(call, device)]
    if spent[0] > LONG_S:
        return spent
    for _ in range(max(1, min(MAX_CALLS, int(min_s / spent[0])))):
        spent.append(_seconds(call, device))
    return spent[1:]


def median_s(call: Callable[[], object], device: torch.device, min_s: float) -> float:
    """Of calls as they come: what to expect."""
    return statistics.median(time_calls(call, device, min_s))


def fastest_s(call: Callable[[], object], device: torch.device, min_s: float) -> float:
    """Of the call that was disturbed least: what the device can do."""
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
