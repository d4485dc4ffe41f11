"""Time FLUX.1-Fill-dev with random weights on a GPU; needs torch and diffusers: ``python benchmarks/flux.py``."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from moebius.bench.flux import check_room, measure_flux  # noqa: E402 - see above

if __name__ == "__main__":
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    check_room(device)
    sys.stdout.write(json.dumps(asdict(measure_flux(device, min_s=1.0))) + "\n")
