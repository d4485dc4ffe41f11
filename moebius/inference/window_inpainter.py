"""Inpainting of windows: the model in batches of one shape."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from moebius.autoencoder import vae as autoencoder
from moebius.fast.gpu_arithmetic import gpu_arithmetic
from moebius.fast.sampling import best_batch_size, is_faster
from moebius.hardware import memory_mb
from moebius.inference.preparation import DTYPES, Prediction, default_precision, precisions, prediction, prepare
from moebius.inference.settings import STARTS, InpaintSettings
from moebius.inference.threads import Item, Result, compute_each, max_threads
from moebius.network.denoiser import Denoiser
from moebius.network.functional import latent_mask
from moebius.sampling.sampler import sampling_loop
from moebius.sampling.schedule import ddim_timesteps
from moebius.weights.files import find_weights
from moebius.windows.compositing import match_colours, to_uint8

if TYPE_CHECKING:
    from moebius.autoencoder.vae import Autoencoder

logger = logging.getLogger(__name__)

MEMORY_SHARE = 0.5  # of a machine's memory, for batches that a CPU computes beside each other
BYTES_PER_VALUE = 36  # of memory, for each pixel of a batch and channel of the first level: 3 GB at the published size


@dataclass(frozen=True)
class Origin:
    """Where sampling starts.

    Args:
        strength: 1 for pure noise.
        is_photo: from the pixels under the mask, not from colours around it.
    """

    strength: float
    is_photo: bool


class WindowInpainter:
    """A denoiser and an autoencoder on one device, ready to repaint windows.

    On a CPU every batch is computed by one thread, as in a job, and as many at once as PyTorch has threads. Threads may
    share an inpainter; on a GPU they take turns.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        vae: Autoencoder,
        settings: InpaintSettings | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        self.settings = settings or InpaintSettings()
        if self.settings.guidance == "auto":
            self.settings = replace(self.settings, guidance=denoiser.config.guidance)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        precision = self.settings.precision
        precision = default_precision(self.device) if precision == "auto" else precision
        if precision not in precisions(self.device):
            raise ValueError(f"precision {precision} needs a GPU; a CPU computes in fp32 or bf16")
        self.dtype = DTYPES[precision]
        size = self.settings.batch_size
        self.config = denoiser.config
        self.batch_size = best_batch_size(self.config, self.device) if size == "auto" else int(size)
        is_fast = self.settings.fast and is_faster(denoiser.config, self.device)
        self._turn = turns(self.device)
        self._wider: Callable[[], Prediction] | None = None
        if self.dtype == torch.float16:
            # It ends at 65,504: a sample that leaves it is computed again in bfloat16, by a model made then.
            again = denoiser if is_fast else copy.deepcopy(denoiser)
            self._wider = cache(partial(prediction, again, self.settings, torch.bfloat16, self.device, is_fast))
        ((_, self.model),) = self._each(
            lambda _: prepare(denoiser, vae, self.settings, self.dtype, self.device, is_fast), [None]
        )

    @classmethod
    def from_pretrained(
        cls,
        weights: str = "nano",
        settings: InpaintSettings | None = None,
        device: str | torch.device | None = None,
    ) -> Self:
        """Load weights by name, path or ``hf://`` uri; see :func:`moebius.weights.find_weights` for the errors."""
        return cls(*find_weights(weights).load(), settings=settings, device=device)

    @property
    def window_px(self) -> int:
        """Side of the squares that the model sees."""
        return self.config.image_size

    def fill(self, pixels: Sequence[np.ndarray], masks: Sequence[np.ndarray], seeds: Sequence[int]) -> list[np.ndarray]:
        """:meth:`generate` a batch of windows, and match the colours of each to those around its hole."""
        generated = self.generate(pixels, masks, seeds)
        return [match_colours(*window) for window in zip(pixels, generated, masks, strict=True)]

    def generate(
        self,
        pixels: Sequence[np.ndarray],
        masks: Sequence[np.ndarray],
        seeds: Sequence[int],
        noise: Tensor | np.ndarray | None = None,
        strength: float | None = None,
        start: str | None = None,
    ) -> np.ndarray:
        """Run the model on one batch of windows; fewer than ``batch_size`` are padded so that the shape is the same.

        Args:
            pixels: (window_px, window_px, 3) uint8 each, at most ``batch_size``.
            masks: (window_px, window_px) bool each.
            seeds: one per window; where noise is given, they are not used.
            noise: (windows, 3, C, h, w), standard normal: the start noise, with its offset if it is to have one, and
                the noise of two posteriors, of the image and of the masked image. ``None``: drawn from the seeds.
            strength: instead of that of the settings.
            start: instead of that of the settings. ``photo`` starts from the pixels as they are given: those under the
                mask may be a fill that is to be refined.

        Returns:
            (windows, window_px, window_px, 3) uint8: the model's whole pictures.

        Raises:
            ValueError: lists of different lengths, more windows than a batch holds, noise of another shape, or a bad
                strength or start.
            FloatingPointError: the model produced NaN or infinite pixels.
        """
        if not len(pixels) == len(masks) == len(seeds):
            raise ValueError(f"got {len(pixels)} windows, {len(masks)} masks and {len(seeds)} seeds")
        origin = self._origin(strength, start)
        size = self.batch_size  # read once: another thread may lower it meanwhile
        drawn = (
            torch.stack([self._noise(seed) for seed in seeds]) if noise is None else self._checked(noise, len(seeds))
        )
        padded = torch.cat([drawn, drawn.new_zeros(max(size - len(drawn), 0), *drawn.shape[1:])])
        ((_, pictures),) = self._each(lambda _: self._generate(pixels, masks, padded, size, origin), [None])
        return pictures

    def _each(self, work: Callable[[Item], Result], batches: Sequence[Item]) -> Iterable[tuple[Item, Result]]:
        """Compute batches: on a CPU as a job does, see :func:`compute_each`; on other devices one after the other."""
        if self.device.type == "cpu":
            return compute_each(work, batches, self._batches_at_once())
        return ((batch, work(batch)) for batch in batches)

    def _batches_at_once(self) -> int:
        """Return how many batches fit the cores and half of the memory of this machine."""
        values = self.batch_size * self.config.channels[0] * self.config.image_size**2
        in_memory = MEMORY_SHARE * memory_mb(self.device) * 1e6 / (BYTES_PER_VALUE * values)
        return max(1, min(max_threads(), int(in_memory)))

    @torch.inference_mode()
    def _generate(
        self, pixels: Sequence[np.ndarray], masks: Sequence[np.ndarray], noise: Tensor, size: int, origin: Origin
    ) -> np.ndarray:
        """Compute :meth:`generate` for a batch of ``size`` with its noise and start."""
        images = self._padded(np.stack(pixels), size).permute(0, 3, 1, 2).float() / 127.5 - 1
        hole = self._padded(np.stack(masks), size)[:, None].float()
        blanked = images * (1 - hole)
        # Kernels and graphs are launched on the current device, which may be another.
        with self._turn, torch.cuda.device_of(images), gpu_arithmetic(self.device, self.dtype):
            given = images, blanked, hole, noise.to(self.device), origin
            decoded = self._decoded(self.model.predict, *given)[: len(pixels)]
            is_finite = decoded.isfinite().flatten(1).all(1)
            if self._wider is not None and not is_finite.all():
                logger.warning("%d windows exceeded float16 and are computed again in bfloat16", (~is_finite).sum())
                again = self._decoded(self._wider(), *given)[: len(pixels)]
                decoded = torch.where(is_finite[:, None, None, None], decoded, again)
            return to_uint8(decoded / 2 + 0.5).permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def _decoded(
        self, predict: Prediction, images: Tensor, blanked: Tensor, hole: Tensor, noise: Tensor, origin: Origin
    ) -> Tensor:
        """Sample by a prediction and decode.

        Args:
            predict: function that returns the guided noise.
            images, blanked: (B, 3, H, W) in [-1, 1]; blanked ones are 0 in the holes.
            hole: (B, 1, H, W), 1 = repaint.
            noise: (B, 3, C, h, w).
            origin: where sampling starts.

        Returns:
            (B, 3, H, W), about [-1, 1].
        """
        mask = latent_mask(hole, self.config.latent_size, self.settings.latent_mask)
        if origin.is_photo:
            posterior_noise = noise[:, 1:].transpose(0, 1)
            latents, masked_latents = autoencoder.encode_pairs(self.model.vae, images, hole, posterior_noise)
        else:
            masked_latents = autoencoder.encode(self.model.vae, blanked, noise[:, 2], hole)
            latents = autoencoder.spread_latents(self.model.vae, masked_latents, hole)
        sampled = sampling_loop(
            predict,
            latents,
            mask,
            masked_latents,
            steps=self.settings.steps,
            strength=origin.strength,
            noise=noise[:, 0],
            solver=self.settings.sampler,
        )
        return autoencoder.decode(self.model.vae, sampled, blanked, hole)

    def _origin(self, strength: float | None, start: str | None) -> Origin:
        """Return where sampling starts, by the settings unless something else is given; check it."""
        strength = self.settings.strength if strength is None else strength
        start = start or self.settings.start
        ddim_timesteps(self.settings.steps, strength)
        if start not in STARTS:
            raise ValueError(f"start must be one of {', '.join(STARTS)}, got {start}")
        is_photo = start == "photo" or (start == "auto" and not autoencoder.spreads_colours(self.model.vae))
        return Origin(strength, is_photo and strength < 1)

    def _noise(self, seed: int) -> Tensor:
        """Draw the start noise and the noise of two posteriors on the CPU, so that every device gets the same."""
        config = self.config
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(3, config.latent_channels, config.latent_size, config.latent_size, generator=generator)
        if self.settings.noise_offset:
            noise[0] += self.settings.noise_offset * torch.randn(config.latent_channels, 1, 1, generator=generator)
        return noise

    def _checked(self, noise: Tensor | np.ndarray, count: int) -> Tensor:
        """Return the noise that was given for ``count`` windows, checked."""
        side = self.config.latent_size
        shape = (count, 3, self.config.latent_channels, side, side)
        if tuple(noise.shape) != shape:
            raise ValueError(f"noise must be {shape}, got {tuple(noise.shape)}")
        return torch.as_tensor(noise, dtype=torch.float32, device="cpu")

    def _padded(self, batch: np.ndarray, size: int) -> Tensor:
        if len(batch) > size:
            raise ValueError(f"at most {size} windows fit a batch, got {len(batch)}")
        padding = np.zeros((size - len(batch), *batch.shape[1:]), batch.dtype)
        whole = torch.from_numpy(np.concatenate([batch, padding]))
        return whole.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else whole


def turns(device: torch.device) -> AbstractContextManager:
    """Return the lock under which a thread computes: threads that share a model on a GPU take turns.

    The inputs and results of a captured step lie at fixed places there. On a CPU every call has its own.
    """
    return nullcontext() if device.type == "cpu" else threading.Lock()
