"""Large tensors lie in large pages, in every process that imports the package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SWITCH = "THP_MEM_ALLOC_ENABLE"
OFFERED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
SCRIPT = """
import moebius, torch
tensor = torch.ones(64 << 20, dtype=torch.uint8)
with open("/proc/self/smaps_rollup") as lines:
    print(next(line.split()[1] for line in lines if line.startswith("AnonHugePages:")))
"""


def large_pages_mb(**environment: str) -> float:
    clean = {name: value for name, value in os.environ.items() if name != SWITCH}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    return int(result.stdout) / 1024


@pytest.mark.skipif(not OFFERED.exists() or "[madvise]" not in OFFERED.read_text(), reason="the system decides alone")
def test_large_tensors_lie_in_large_pages_unless_switched_off():
    assert large_pages_mb() > 30
    assert large_pages_mb(**{SWITCH: "0"}) < 30
