"""Time the denoiser and the autoencoder, plain and optimized, in each precision and batch size."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from moebius.autoencoder import vae as autoencoder
from moebius.bench.ceilings import Ceilings, measure_ceilings
from moebius.bench.counting import parameter_count, step_macs, vae_macs, weight_bytes
from moebius.bench.timing import median_s
from moebius.fast.gpu_arithmetic import gpu_arithmetic
from moebius.fast.sampling import is_faster
from moebius.hardware import forget_peak_memory, make_current, memory_mb, peak_memory_mb
from moebius.inference.preparation import DTYPES, PreparedModel, default_precision, precisions, prepare
from moebius.inference.settings import InpaintSettings
from moebius.network.config import MoebiusConfig
from moebius.sampling.schedule import ddim_timesteps
from moebius.weights.files import Weights

PATHS = ("reference", "fast")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelRun:
    """Figures of one path through the model at one precision and batch size.

    Args:
        path: ``reference``, the plain model, or ``fast``, the optimized one.
        precision, batch_size: of this run.
        step_s: one guided step of a batch, both branches.
        vae_s: the autoencoder for a batch: two encodings and a decoding.
        image_s: all steps and the autoencoder, per picture.
        images_per_s: its inverse.
        vae_share: of ``image_s``.
        step_macs, vae_macs: multiply-accumulates of a batch, counted.
        floor_s: lower bound of a step: its operations and the bytes of its weights at the limits of this device.
        of_floor: ``floor_s`` ÷ ``step_s``; 1 is the limit of this device.
        vae_of_floor: the same for the autoencoder.
        peak_mb: largest memory: of tensors on a GPU, else of the process.
        load_s: reading the checkpoint and preparing the model.
    """

    path: str
    precision: str
    batch_size: int
    step_s: float
    vae_s: float
    image_s: float
    images_per_s: float
    vae_share: float
    step_macs: int
    vae_macs: int
    floor_s: float
    of_floor: float
    vae_of_floor: float
    peak_mb: float
    load_s: float


@dataclass(frozen=True)
class ModelFigures:
    """Figures of ``moebius bench model``.

    Args:
        parameters: of the denoiser.
        vae_parameters: of the autoencoder.
        steps: guided steps per picture.
        ceilings: by precision.
        runs: one per path, precision and batch size that fits the memory of the device.
        windows_per_second: of the path and precision that a job takes on this device, at the best batch size:
            per GPU, or per CPU core, since a job computes each window with one thread there.
    """

    parameters: int
    vae_parameters: int
    steps: int
    ceilings: dict[str, Ceilings]
    runs: list[ModelRun]
    windows_per_second: float


def measure_model(weights: Weights, device: torch.device, batch_sizes: Sequence[int], min_s: float) -> ModelFigures:
    """Measure every combination; on CPUs with one thread, as workers compute.

    Args:
        weights: of any size.
        device: the device to measure.
        batch_sizes: windows per call; sizes that need more memory than there is, as smaller ones predict, are left out
            with a warning.
        min_s: seconds to measure each figure for.
    """
    if device.type == "cpu":
        torch.set_num_threads(1)
    make_current(device)
    ceilings = {precision: measure_ceilings(device, DTYPES[precision], min_s) for precision in precisions(device)}
    denoiser, vae = weights.load()
    sizes = parameter_count(denoiser), parameter_count(vae)
    del denoiser, vae
    runs = [
        run
        for path in PATHS
        for precision in ceilings
        for run in _measure(weights, device, path, precision, sorted(set(batch_sizes)), ceilings[precision], min_s)
    ]
    usual = (PATHS[is_faster(weights.config, device)], default_precision(device))
    best = max(run.images_per_s for run in runs if (run.path, run.precision) == usual)
    return ModelFigures(*sizes, len(_timesteps()), ceilings, runs, best)


def _timesteps() -> list[int]:
    usual = InpaintSettings()
    return ddim_timesteps(usual.steps, usual.strength)


@torch.inference_mode()
def _measure(
    weights: Weights,
    device: torch.device,
    path: str,
    precision: str,
    batch_sizes: Sequence[int],
    ceilings: Ceilings,
    min_s: float,
) -> Iterator[ModelRun]:
    """Load the model anew for each path and precision, so that no other takes memory, and time it by batch size."""
    started = time.perf_counter()
    denoiser, vae = weights.load()
    model = prepare(denoiser, vae, InpaintSettings(fast=path == "fast"), DTYPES[precision], device, path == "fast")
    del denoiser
    load_s = time.perf_counter() - started
    a_step, a_picture = step_macs(weights.config, path == "fast"), vae_macs(vae.config, weights.config)
    steps, peaks_mb = len(_timesteps()), dict[int, float]()
    for batch_size in batch_sizes:
        needed_mb = _expected_mb(peaks_mb, batch_size)
        if needed_mb > memory_mb(device):
            text = "%s, %s, %d windows: left out, they would take about %.0f GB and there are %.0f"
            logger.warning(text, path, precision, batch_size, needed_mb / 1e3, memory_mb(device) / 1e3)
            continue
        forget_peak_memory(device)
        with gpu_arithmetic(device, DTYPES[precision]):
            step_s, vae_s = _times(model, weights.config, batch_size, device, min_s)
        image_s = (steps * step_s + vae_s) / batch_size
        floor_s = ceilings.min_s(batch_size * a_step, weight_bytes(model.predict.model))
        vae_floor_s = ceilings.min_s(batch_size * a_picture, weight_bytes(model.vae))
        peaks_mb[batch_size] = peak_memory_mb(device)
        text = "%s, %s, %d windows: %.3g s a guided step, %.3g s of the autoencoder"
        logger.info(text, path, precision, batch_size, step_s, vae_s)
        yield ModelRun(
            path=path,
            precision=precision,
            batch_size=batch_size,
            step_s=step_s,
            vae_s=vae_s,
            image_s=image_s,
            images_per_s=1 / image_s,
            vae_share=vae_s / (batch_size * image_s),
            step_macs=batch_size * a_step,
            vae_macs=batch_size * a_picture,
            floor_s=floor_s,
            of_floor=floor_s / step_s,
            vae_of_floor=vae_floor_s / vae_s,
            peak_mb=peaks_mb[batch_size],
            load_s=load_s,
        )


def _expected_mb(peaks_mb: Mapping[int, float], batch_size: int) -> float:
    """Extrapolate the peak memory to a batch size from the two largest measured ones; 0 without two."""
    if len(peaks_mb) < 2:
        return 0.0
    (size, peak), (larger, higher) = sorted(peaks_mb.items())[-2:]
    return higher + (batch_size - larger) * (higher - peak) / (larger - size)


def _times(
    model: PreparedModel, config: MoebiusConfig, batch_size: int, device: torch.device, min_s: float
) -> tuple[float, float]:
    """Measure the seconds of a guided step, and of the autoencoder, for a batch."""
    timestep, channels, side = _timesteps()[0], config.latent_channels, config.latent_size
    inputs = torch.randn(batch_size, 2 * channels + 1, side, side, device=device)
    images = torch.rand(2 * batch_size, 3, config.image_size, config.image_size, device=device)
    noise = torch.randn(2 * batch_size, channels, side, side, device=device)
    step_s = median_s(lambda: model.predict(inputs, timestep), device, min_s)
    latents = noise[:batch_size]
    vae_s = median_s(
        lambda: (autoencoder.encode(model.vae, images, noise), autoencoder.decode(model.vae, latents)), device, min_s
    )
    return step_s, vae_s
