"""Time whole windows, from pixels to pixels, through an ``Inpainter``: what a job gets from one device.

Needs torch only; random weights of the published size, one hole in each window:
``python benchmarks/pictures.py --device cuda --precision fp16 --batch-sizes 16 32``.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from moebius.arrangement import DTYPES  # noqa: E402 - see above
from moebius.bench.checkpoints import PUBLISHED_VAE  # noqa: E402
from moebius.config import MoebiusConfig  # noqa: E402
from moebius.denoiser import Denoiser  # noqa: E402
from moebius.hardware import device_name  # noqa: E402
from moebius.inpainter import Inpainter  # noqa: E402
from moebius.kl_autoencoder import KlAutoencoder  # noqa: E402
from moebius.settings import InpaintSettings  # noqa: E402
from moebius.untrained import untrained_model  # noqa: E402


@dataclass(frozen=True)
class Figures:
    """One measurement.

    Args:
        device, precision, batch_size, steps, sampler: of this run.
        load_s: making the model ready, with the first batch.
        batch_s: median seconds per batch.
        windows_per_s: batch size over that.
    """

    device: str
    precision: str
    batch_size: int
    steps: int
    sampler: str
    load_s: float
    batch_s: float
    windows_per_s: float


def main() -> None:
    """Print one line per batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=DTYPES, default="bf16")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16], metavar="N")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--sampler", default="ddim")
    parser.add_argument("--batches", type=int, default=5, help="that are timed (5)")
    parser.add_argument("--small", action="store_true", help="a small model, to try the script")
    parser.add_argument("--plain", action="store_true", help="the plain model")
    options = parser.parse_args()
    for size in options.batch_sizes:
        sys.stdout.write(json.dumps(asdict(_measure(options, size))) + "\n")
        sys.stdout.flush()


def _measure(options: argparse.Namespace, size: int) -> Figures:
    torch.manual_seed(0)
    if options.small:
        models = untrained_model()
    else:
        models = Denoiser(MoebiusConfig()).eval(), KlAutoencoder(PUBLISHED_VAE).eval()
    settings = InpaintSettings(
        steps=options.steps,
        sampler=options.sampler,
        precision=options.precision,
        batch_size=size,
        fast=not options.plain,
    )
    started = time.perf_counter()
    inpainter = Inpainter(*models, settings=settings, device=options.device)
    side = inpainter.window_px
    pixels = np.random.default_rng(0).integers(0, 256, (size, side, side, 3), np.uint8)
    holes = np.zeros((size, side, side), bool)
    holes[:, side // 4 : side // 2, side // 4 : side * 3 // 4] = True
    times = [started]
    for _ in range(1 + options.batches):
        inpainter.generate(list(pixels), list(holes), list(range(size)))
        times.append(time.perf_counter())
    load_s, *batches_s = np.diff(times).tolist()
    batch_s = median(batches_s)
    name = device_name(inpainter.device)
    return Figures(name, options.precision, size, options.steps, options.sampler, load_s, batch_s, size / batch_s)


if __name__ == "__main__":
    main()
