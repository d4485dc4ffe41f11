"""Memory that filling a hole takes: of the GPU where there is one, of this process elsewhere."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

MB = 1e6
_STATUS, _RESET, _RESET_PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs"), "5"
_NOW, _PEAK = "VmRSS:", "VmHWM:"


@dataclass
class Growth:
    """Growth of memory up to its peak, in MB; ``None`` on a system that does not tell."""

    mb: float | None = None


@contextlib.contextmanager
def measured_growth() -> Iterator[Growth]:
    """Measure by how much memory grows while the block runs, up to its peak.

    On a GPU this is what PyTorch reserves there for tensors. Elsewhere it is the resident memory of this process, which
    Linux alone tells; memory that an earlier call left to the process is not counted again, so the first call counts.
    """
    growth = Growth()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield growth
        growth.mb = (torch.cuda.max_memory_allocated() - before) / MB
        return
    try:
        _RESET.write_text(_RESET_PEAK)
        before_kb = _status_kb(_NOW)
    except OSError:
        yield growth
        return
    yield growth
    growth.mb = max(0, _status_kb(_PEAK) - before_kb) * 1024 / MB


def memory_place() -> str:
    """Return which memory :func:`measured_growth` measures."""
    return "GPU" if torch.cuda.is_available() else "process"


def _status_kb(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])
