"""Comparison of kernels with PyTorch's layers on small models of random weights, before they are used on a device."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from moebius.autoencoder.kl_layers import ResnetBlock
from moebius.fast.denoiser import FastDenoiser
from moebius.fast.gpu_arithmetic import gpu_arithmetic
from moebius.network.config import MoebiusConfig
from moebius.network.denoiser import Denoiser
from moebius.sampling.sampler import CONDITION_IDS, UNCONDITIONAL_IDS
from moebius.weights.untrained import randomise

# Largest error over largest value. Such a model in bfloat16 is 1.7e-2 from itself in float32, in float16 4e-3.
BOUNDS = {torch.float32: 2e-3, torch.bfloat16: 5e-2, torch.float16: 2e-2}
CONFIG = MoebiusConfig((32, 96), heads=4, image_size=256, category_width=8, context_width=16)
SAMPLES, TIMESTEP = 2, 500

Fuse = Callable[[nn.Module], None]


def check(device: torch.device, dtype: torch.dtype, fuse_denoiser: Fuse, fuse_autoencoder: Fuse | None = None) -> None:
    """Compute a guided step and a block of the autoencoder with kernels and without.

    Args:
        device: the device to check on.
        dtype: of the computation.
        fuse_denoiser, fuse_autoencoder: replace layers by ones with kernels.

    Raises:
        ArithmeticError: they differ by more than rounding.
        Exception: a kernel cannot be compiled or run; the compiler's own error.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(0)
        model = Denoiser(CONFIG)
        randomise(model)
        with gpu_arithmetic(device, dtype):
            steps = _guided_steps(model, fuse_denoiser, dtype, device)
            compare(f"a guided step in {dtype}", *steps, BOUNDS[dtype])
            if fuse_autoencoder:
                pictures = _pictures(fuse_autoencoder, dtype, device)
                compare(f"a block of the autoencoder in {dtype}", *pictures, BOUNDS[dtype])


def compare(name: str, ours: Tensor, theirs: Tensor, bound: float) -> None:
    """Raise :class:`ArithmeticError` where two results differ by more than a share of their largest value."""
    error = float((ours.float() - theirs.float()).abs().max() / theirs.float().abs().max())
    if not error <= bound:  # NaN is not, either
        raise ArithmeticError(f"{name} differs by {error:.1e} of its largest value")


def _guided_steps(model: Denoiser, fuse: Fuse, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    plain = FastDenoiser(model, (CONDITION_IDS, UNCONDITIONAL_IDS))
    biases = plain.time_biases([TIMESTEP])[0].to(device)
    inputs = torch.randn(SAMPLES, 9, CONFIG.latent_size, CONFIG.latent_size).to(device)
    plain = plain.lower(dtype).to(device)
    fused = copy.deepcopy(plain)
    fuse(fused)
    return fused(inputs, biases, 2), plain(inputs, biases, 2)


def _pictures(fuse: Fuse, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    plain = nn.ModuleList([ResnetBlock(64, 96, groups=32)])
    randomise(plain)
    fused = copy.deepcopy(plain)
    fuse(fused)
    planes = torch.randn(SAMPLES, 64, 20, 36).to(device, dtype)  # no whole tiles
    return fused.to(device, dtype)[0](planes), plain.to(device, dtype)[0](planes)
