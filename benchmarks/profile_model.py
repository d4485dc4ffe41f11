"""Show where the time of a guided step and of the autoencoder goes, operation by operation or kernel by kernel.

Of our own kernels for GPUs it also tells how many bytes they moved a second, to compare with what the memory can do.
Needs torch only; random weights of the published size, the model as a job prepares it:
``python benchmarks/profile_model.py --device cuda --precision bf16 --batch-size 16``.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from moebius.autoencoder import vae as autoencoder  # noqa: E402 - see above
from moebius.autoencoder.kl import KlAutoencoder  # noqa: E402
from moebius.bench.ceilings import measure_ceilings  # noqa: E402
from moebius.bench.checkpoints import PUBLISHED_VAE  # noqa: E402
from moebius.fast.gpu_arithmetic import gpu_arithmetic  # noqa: E402
from moebius.hardware import make_current  # noqa: E402
from moebius.inference.preparation import DTYPES, PreparedModel, prepare  # noqa: E402
from moebius.inference.settings import InpaintSettings  # noqa: E402
from moebius.network.config import MoebiusConfig  # noqa: E402
from moebius.network.denoiser import Denoiser  # noqa: E402
from moebius.sampling.schedule import ddim_timesteps  # noqa: E402

ROWS = 40  # of a table: each of the others takes less than a hundredth
Launches = Mapping[str, Sequence[int]]


@torch.inference_mode()
def main() -> None:
    """Print a table of each part, the longest first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=DTYPES, default="bf16")
    parser.add_argument("--batch-size", type=int, default=1, metavar="N")
    options = parser.parse_args()
    device, dtype, size = torch.device(options.device), DTYPES[options.precision], options.batch_size
    if device.type == "cpu":
        torch.set_num_threads(1)  # as in a job
    make_current(device)
    config, usual = MoebiusConfig(), InpaintSettings()
    denoiser, vae = Denoiser(config).eval(), KlAutoencoder(PUBLISHED_VAE).eval()
    model = prepare(denoiser, vae, usual, dtype, device, is_fast=True)
    if device.type == "cuda":
        ceilings = measure_ceilings(device, dtype, min_s=0.2)
        sys.stdout.write(f"memory: {ceilings.memory_gb_s:.0f} GB/s; products: {ceilings.matmul_gflops:.0f} GFLOP/s\n\n")
    for name, part in _parts(model, size, device).items():
        with gpu_arithmetic(device, dtype):
            table = _table(part, device)
        sys.stdout.write(f"{name}, {options.precision}, a batch of {size} on {device}\n{table}\n")


def _parts(model: PreparedModel, size: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """What is looked at, each by itself."""
    config, usual = MoebiusConfig(), InpaintSettings()
    timestep, side, width = ddim_timesteps(usual.steps, usual.strength)[0], config.latent_size, config.latent_channels
    latents, inputs = (torch.randn(size, count, side, side, device=device) for count in (width, 2 * width + 1))
    images = torch.rand(size, 3, config.image_size, config.image_size, device=device)
    return {
        "a guided step": lambda: model.predict(inputs, timestep),
        "an encoding": lambda: autoencoder.encode(model.vae, images, latents),
        "a decoding": lambda: autoencoder.decode(model.vae, latents),
    }


def _table(part: Callable[[], object], device: torch.device) -> str:
    """Once for what the first call sets up, once to be looked at."""
    with noted_launches() as launches:
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
    table = averages.table(sort_by=by, row_limit=ROWS, max_name_column_width=80, max_shapes_column_width=80)
    return table + speeds(launches, averages)


@contextmanager
def noted_launches() -> Iterator[Launches]:
    """Of each of our kernels, the bytes of what each of its launches is given to read and to write."""
    launches: dict[str, list[int]] = defaultdict(list)
    if find_spec("triton") is None:
        yield launches
        return
    from triton.runtime.jit import JITFunction

    run = JITFunction.run

    def noted_run(kernel: Any, *arguments: object, **named: object) -> object:
        tensors = [argument for argument in arguments if isinstance(argument, Tensor)]
        launches[kernel.__name__].append(sum(tensor.numel() * tensor.element_size() for tensor in tensors))
        return run(kernel, *arguments, **named)

    JITFunction.run = noted_run
    try:
        yield launches
    finally:
        JITFunction.run = run


def speeds(launches: Launches, averages: Sequence[Any]) -> str:
    """Bytes a second of each of our kernels, the longest first."""
    lines = []
    for event in sorted(averages, key=lambda event: -event.self_device_time_total):
        sizes = next((sizes for name, sizes in launches.items() if event.key.endswith(name)), None)
        if sizes and event.self_device_time_total:
            moved = event.count * sum(sizes) / len(sizes)
            rate = moved / event.self_device_time_total / 1e3  # of bytes and microseconds
            lines.append(f"{event.key}: {event.count} launches, {moved / 1e9:.2f} GB at {rate:.0f} GB/s\n")
    return "".join(lines)


if __name__ == "__main__":
    main()
