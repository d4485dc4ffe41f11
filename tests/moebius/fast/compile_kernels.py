"""Compiles the kernels for GPUs that need not be there, as the optimized model launches them, and looks at the result.

The denoiser of the published widths and blocks of the autoencoder run on tensors without data.
"""

import re
import sys
from contextlib import redirect_stdout
from io import StringIO

import torch
import triton
from torch import nn
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from moebius.autoencoder.kl_layers import Downsample, ResnetBlock, Upsample
from moebius.fast import self_check
from moebius.fast.denoiser import FastDenoiser
from moebius.fast.gpu import autoencoder, denoiser
from moebius.fast.gpu.upsample import FusedUpsample
from moebius.network.config import MoebiusConfig
from moebius.network.denoiser import Denoiser
from moebius.sampling.sampler import CONDITION_IDS, UNCONDITIONAL_IDS

MAX_SHARED_BYTES = 99 * 1024  # that every GPU since compute capability 8.0 has
SPILLED = re.compile(r"([1-9]\d+) bytes spill stores")  # a register or two are nothing
RUN, seen = JITFunction.run, set[str]()


class Driver:
    """In the place of Triton's own, which needs a GPU."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_device(self) -> int:
        return self.capability  # kernels are kept by device

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)


def launch(kernel: JITFunction, *arguments, grid, warmup, **constants) -> None:
    """Compile what a launch needs, and compute nothing."""
    assert all(0 < count <= limit for count, limit in zip(grid, (2**31 - 1, 65535, 65535), strict=False)), grid
    with redirect_stdout(StringIO()) as log:
        compiled = RUN(kernel, *arguments, grid=grid, warmup=True, **constants)
    if compiled.hash in seen:
        return
    seen.add(compiled.hash)
    name, shared = kernel.__name__, compiled.metadata.shared
    assert shared <= MAX_SHARED_BYTES, (name, constants, shared)
    assert not SPILLED.search(log.getvalue()), (name, constants, log.getvalue())
    if not name.endswith("_content"):  # whose NaN remain in the exponentials of keys less their maximum
        assert "max.f32" not in compiled.asm["ptx"], name  # it makes a number of NaN
    sys.stdout.write(f"{name} {constants}\n")


@torch.no_grad()
def main() -> None:
    knobs.compilation.always_compile = knobs.nvidia.dump_ptxas_log = True  # what was kept says nothing
    JITFunction.run = launch
    with torch.device("meta"):
        triton.runtime.driver.set_active(Driver(90))
        run_denoiser(MoebiusConfig(), 16, torch.float16)
        run_denoiser(MoebiusConfig(), 16, torch.bfloat16)  # in part float32
        run_autoencoder(512, 256, torch.bfloat16)
        for features in (torch.float32, torch.bfloat16):  # of the denoiser, of the autoencoder
            run_upsample(512, features, torch.bfloat16)
        triton.runtime.driver.set_active(Driver(80))
        run_denoiser(self_check.CONFIG, self_check.SAMPLES, torch.float32)
        run_denoiser(MoebiusConfig(), 16, torch.float16)
        run_autoencoder(128, 128, torch.float32)
        run_upsample(128, torch.float32, torch.float32)


def run_denoiser(config: MoebiusConfig, samples: int, dtype: torch.dtype) -> None:
    model = FastDenoiser(Denoiser(config).eval(), (CONDITION_IDS, UNCONDITIONAL_IDS)).lower(dtype)
    denoiser.fuse(model)
    latents = torch.empty(samples, 2 * config.latent_channels + 1, config.latent_size, config.latent_size)
    for branches in (2, 1):
        model(latents, torch.empty(sum(model.bias_widths)), branches)


def run_autoencoder(in_channels: int, out_channels: int, dtype: torch.dtype) -> None:
    layers = [ResnetBlock(in_channels, out_channels, groups=32), Downsample(out_channels), Upsample(out_channels)]
    model = nn.Sequential(*layers).to(dtype)
    autoencoder.fuse(model)
    autoencoder.fuse_resampling(model)
    model(torch.empty(16, in_channels, 512, 512, dtype=dtype))


def run_upsample(channels: int, features: torch.dtype, weights: torch.dtype) -> None:
    conv = nn.Conv2d(channels, channels, 3, padding=1)
    FusedUpsample.from_conv(conv.to(weights))(torch.empty(8, 128, 128, channels, dtype=features))


if __name__ == "__main__":
    main()
