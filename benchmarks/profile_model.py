"""Show where the time of a guided step and of the autoencoder goes, operation by operation or kernel by kernel.

Needs torch and diffusers alone; random weights of the published size, the model as a job arranges it:
``python benchmarks/profile_model.py --device cuda --precision bf16 --batch-size 16``.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from diffusers import AutoencoderKL  # noqa: E402 - see above

from moebius import vae as autoencoder  # noqa: E402
from moebius.arrangement import DTYPES, arrange  # noqa: E402
from moebius.bench.checkpoints import PUBLISHED_VAE  # noqa: E402
from moebius.config import MoebiusConfig  # noqa: E402
from moebius.denoiser import Denoiser  # noqa: E402
from moebius.schedule import ddim_timesteps  # noqa: E402
from moebius.settings import InpaintSettings  # noqa: E402

ROWS = 40  # of a table: each of the others takes less than a hundredth


@torch.inference_mode()
def main() -> None:
    """Print a table of each part, the longest first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=DTYPES, default="bf16")
    parser.add_argument("--batch-size", type=int, default=1, metavar="N")
    options = parser.parse_args()
    device, size = torch.device(options.device), options.batch_size
    config, usual = MoebiusConfig(), InpaintSettings()
    denoiser, vae = Denoiser(config).eval(), AutoencoderKL(**PUBLISHED_VAE).eval()
    model = arrange(denoiser, vae, usual, DTYPES[options.precision], device, is_fast=True)
    timestep, side, width = ddim_timesteps(usual.steps, usual.strength)[0], config.latent_size, config.latent_channels
    latents, inputs = (torch.randn(size, count, side, side, device=device) for count in (width, 2 * width + 1))
    images = torch.rand(size, 3, config.image_size, config.image_size, device=device)
    parts: dict[str, Callable[[], object]] = {
        "a guided step": lambda: model.predict(inputs, timestep),
        "an encoding": lambda: autoencoder.encode(model.vae, images, latents),
        "a decoding": lambda: autoencoder.decode(model.vae, latents),
    }
    if device.type == "cpu":
        torch.set_num_threads(1)  # as in a job
    for name, part in parts.items():
        sys.stdout.write(f"{name}, {options.precision}, a batch of {size} on {device}\n{_table(part, device)}\n")


def _table(part: Callable[[], object], device: torch.device) -> str:
    """Once for what the first call sets up, once to be looked at."""
    part()
    on_gpu = device.type == "cuda"
    with profile(
        activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU], record_shapes=True
    ) as profiled:
        part()
        if on_gpu:
            torch.cuda.synchronize(device)
    averages = profiled.key_averages(group_by_input_shape=not on_gpu)
    by = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    return averages.table(sort_by=by, row_limit=ROWS, max_name_column_width=80, max_shapes_column_width=80)


if __name__ == "__main__":
    main()
