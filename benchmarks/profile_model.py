"""Show where the time of a guided step and of the autoencoder goes, operation by operation or kernel by kernel.

It times each of our kernels for GPUs by itself, with its bytes per second beside those of a copy.
Needs torch only; random weights of the published size, the model as a job arranges it:
``python benchmarks/profile_model.py --device cuda --precision bf16 --batch-size 16``.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from moebius.arrangement import DTYPES, ArrangedModel, arrange  # noqa: E402
from moebius.bench.ceilings import measure_ceilings  # noqa: E402
from moebius.bench.checkpoints import PUBLISHED_VAE  # noqa: E402
from moebius.config import MoebiusConfig  # noqa: E402
from moebius.denoiser import Denoiser  # noqa: E402
from moebius.fast.sampling import gpu_arithmetic  # noqa: E402
from moebius.hardware import make_current  # noqa: E402
from moebius.kl_autoencoder import KlAutoencoder  # noqa: E402
from moebius.schedule import ddim_timesteps  # noqa: E402
from moebius.settings import InpaintSettings  # noqa: E402

ROWS = 40  # of a table: each of the others takes less than a hundredth
SLICE = 4  # windows


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
    model = arrange(denoiser, vae, usual, dtype, device, is_fast=True)
    ceilings = None
    if device.type == "cuda":
        ceilings = measure_ceilings(device, dtype, least_s=0.2)
        sys.stdout.write(f"memory: {ceilings.memory_gb_s:.0f} GB/s; products: {ceilings.matmul_gflops:.0f} GFLOP/s\n\n")
    for name, part in _parts(model, size, device).items():
        with gpu_arithmetic(device, dtype):
            table = _table(part, device, ceilings.memory_gb_s if ceilings else 0.0)
        sys.stdout.write(f"{name}, {options.precision}, a batch of {size} on {device}\n{table}\n")


def _parts(model: ArrangedModel, size: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """Return what is looked at, each by itself; the autoencoder computes a few windows at once."""
    config, usual = MoebiusConfig(), InpaintSettings()
    timestep, side, width = ddim_timesteps(usual.steps, usual.strength)[0], config.latent_size, config.latent_channels
    latents, inputs = (torch.randn(size, count, side, side, device=device) for count in (width, 2 * width + 1))
    images = torch.rand(size, 3, config.image_size, config.image_size, device=device)
    encode, decode = (getattr(step, "function", step) for step in (model.vae.encode_slice, model.vae.decode_slice))
    return {  # without CUDA graphs, whose kernels cannot be told apart
        "a guided step": lambda: model.predict.model(inputs, model.predict.biases[timestep], 2),
        "an encoding": lambda: encode(images[:SLICE].to(model.vae.dtype)),
        "a decoding": lambda: decode(latents[:SLICE].to(model.vae.dtype)),
    }


def _table(part: Callable[[], object], device: torch.device, memory_gb_s: float) -> str:
    """Run once for what the first call sets up, once to look at it, and each kernel of ours by itself."""
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
    if not on_gpu:
        return table
    from triton.testing import do_bench

    median_ms = partial(do_bench, warmup=3, rep=12, return_mode="median")
    return table + kernel_table(launches, memory_gb_s, median_ms)


Row = tuple[float, int, int]  # milliseconds, launches, bytes


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel.

    Args:
        name: of the kernel.
        again: launches it again with the same arguments.
        arguments: tensors and numbers.
    """

    name: str
    again: Callable[[], object]
    arguments: Sequence[object]

    @property
    def moved_bytes(self) -> int:
        """Bytes of the tensors that it was given, each read or written once."""
        tensors = [argument for argument in self.arguments if isinstance(argument, Tensor)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @property
    def shapes(self) -> str:
        """Shapes and types of these tensors."""
        tensors = [argument for argument in self.arguments if isinstance(argument, Tensor)]
        return ", ".join(f"{tuple(tensor.shape)} {str(tensor.dtype)[6:]}" for tensor in tensors)


Launches = dict[tuple[str, str], tuple[Launch, int]]  # by name and shapes: the first of them, and how many


@contextmanager
def noted_launches() -> Iterator[Launches]:
    """Count the launches of our kernels; the tensors of the first of each shape stay in memory until that is gone."""
    launches: Launches = {}
    if find_spec("triton") is None:
        yield launches
        return
    from triton.runtime.jit import JITFunction

    run = JITFunction.run

    def noted_run(kernel: Any, *arguments: object, **named: object) -> object:
        launch = Launch(kernel.__name__, partial(run, kernel, *arguments, **named), arguments)
        first, count = launches.get((launch.name, launch.shapes), (launch, 0))
        launches[launch.name, launch.shapes] = first, count + 1
        return run(kernel, *arguments, **named)

    JITFunction.run = noted_run
    try:
        yield launches
    finally:
        JITFunction.run = run


def kernel_table(launches: Launches, memory_gb_s: float, median_ms: Callable[[Callable[[], object]], float]) -> str:
    """Time each kernel of ours for each of its shapes, and compare its bytes per second with those of a copy.

    Args:
        launches: of one part.
        memory_gb_s: of a copy of a large tensor.
        median_ms: milliseconds that a function takes on the GPU.

    Returns:
        One line per kernel, the longest first, then one per kernel and shapes.
    """
    totals: dict[str, Row] = defaultdict(lambda: (0.0, 0, 0))
    rows: list[tuple[Row, str]] = []
    for (name, shapes), (launch, count) in launches.items():
        row = (count * median_ms(launch.again), count, count * launch.moved_bytes)
        rows.append((row, f"{name} {shapes}"))
        totals[name] = (totals[name][0] + row[0], totals[name][1] + row[1], totals[name][2] + row[2])
    tables = (((row, name) for name, row in totals.items()), rows)
    return "".join(_line(*row, memory_gb_s, name) for table in tables for row, name in sorted(table, reverse=True))


def _line(ms: float, count: int, moved: int, memory_gb_s: float, name: str) -> str:
    rate = moved / ms / 1e6
    share = rate / memory_gb_s
    return f"{ms:8.3f} ms {count:4} launches {moved / 1e9:7.3f} GB {rate:6.0f} GB/s {share:5.2f} of a copy  {name}\n"


if __name__ == "__main__":
    main()
