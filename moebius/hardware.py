"""Facts of this machine: accelerator or processor, cores, versions, memory and the memory that this process used."""

import contextlib
import math
import os
import platform
import resource
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")  # in bytes, or "max"
CONTAINER_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # microseconds of all cores together, or "max", in a period of others


def make_current(device: torch.device) -> None:
    """Launch kernels on a GPU from now on; ``cuda`` without a number is the current one already."""
    if device.type == "cuda" and device.index is not None:  # else PyTorch refuses it
        torch.cuda.set_device(device)


def device_name(device: torch.device | None = None) -> str:
    """Return the name of a device; without one, of this machine's accelerator, else of its processor."""
    if device.type == "cuda" if device else torch.cuda.is_available():
        return torch.cuda.get_device_name(device)
    processors = Path("/proc/cpuinfo")
    names = processors.read_text().split("model name") if processors.exists() else []
    model = names[1].splitlines()[0].strip("\t :") if len(names) > 1 else platform.processor()
    return f"cpu: {model}, {os.cpu_count()} cores"


def usable_cores() -> int:
    """Count the CPU cores that this process may use, by its affinity and the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = CONTAINER_QUOTA.read_text().split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(1, cores)


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python and of the given packages that are installed."""
    installed = {package: _installed(package) for package in packages}
    return {"python": platform.python_version()} | {name: number for name, number in installed.items() if number}


@cache  # reading it takes milliseconds
def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def forget_peak_memory(device: torch.device) -> None:
    """Reset :func:`peak_memory_mb`; where the system cannot, it still counts from the start of the process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_memory_mb(device: torch.device) -> float:
    """Return the peak memory of tensors on a GPU; elsewhere of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def memory_mb(device: torch.device) -> float:
    """Return the memory of a GPU; elsewhere of the machine, or of the container that this process is in."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory / 1e6
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        memory_bytes = min(memory_bytes, int(CONTAINER_LIMIT.read_text()))
    return memory_bytes / 1e6
