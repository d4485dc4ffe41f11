"""Samples to tune the decoder on: crops with holes beside slightly disturbed true latents or sampled ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moebius.autoencoder.small import SmallAutoencoder
from moebius.autoencoder.vae import encode
from moebius.network.denoiser import Denoiser
from moebius.network.functional import latent_mask
from moebius.sampling.sampler import CONDITION_IDS, sampling_loop
from moebius.train.data.device_crops import DeviceCrops
from moebius.train.data.mask_bank import MaskBank
from moebius.train.tasks.autoencoder import SLIGHT_NOISE, WORST_NOISE, spoil

THIN_SHARE = 0.5
THIN_KINDS = ("thin", "fine")
ALONE_SHARE = 0.1  # of the crops with true latents: decoded from these alone
WIDE_KINDS = ("medium", "thick", "boxes")
SAMPLERS = (("ddim", 20), ("dpm++", 10))  # and their steps
STRENGTH = 0.99


@dataclass(frozen=True)
class DecoderBatch:
    """Crops and what they are decoded from.

    Args:
        images: (B, 3, H, W) in [-1, 1].
        holes: (B, 1, H, W), 1 = repaint.
        colours: (B, 3, H, W), spread over the holes.
        latents: (B, C, h, w), as the decoder takes them.
    """

    images: Tensor
    holes: Tensor
    colours: Tensor
    latents: Tensor


class DecoderPool:
    """The last ``capacity`` crops, in half precision; new ones replace the oldest."""

    def __init__(self, capacity: int, device: torch.device) -> None:
        self.capacity, self.device, self.added = capacity, device, 0
        self.kept: list[Tensor] = []

    def add(self, batch: DecoderBatch) -> None:
        """Keep the crops of a batch."""
        parts = [part.half() for part in (batch.images, batch.holes, batch.colours, batch.latents)]
        if not self.kept:
            self.kept = [part.new_empty(self.capacity, *part.shape[1:]) for part in parts]
        places = (self.added + torch.arange(len(batch.images), device=self.device)) % self.capacity
        for kept, part in zip(self.kept, parts, strict=True):
            kept[places] = part
        self.added += len(batch.images)

    def draw(self, count: int, generator: torch.Generator) -> DecoderBatch:
        """Draw ``count`` of the crops; :meth:`add` must have been called."""
        filled = min(self.added, self.capacity)
        indices = torch.randint(filled, (count,), generator=generator, device=self.device)
        return DecoderBatch(*(part[indices].float() for part in self.kept))


class DecoderSamples:
    """Makes crops for pools.

    Args:
        vae: whose encoder makes latents.
        crops, masks: where crops and holes come from.
        seed: of everything.
    """

    def __init__(self, vae: SmallAutoencoder, crops: DeviceCrops, masks: MaskBank, seed: int) -> None:
        self.vae, self.crops, self.masks = vae, crops, masks
        self.generator = torch.Generator(crops.device).manual_seed(seed)
        self.spoiling = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def add_true(self, pool: DecoderPool, count: int) -> None:
        """Add crops beside their own latents, as wrong as the training of the autoencoder makes them."""
        images, holes, thin_count = self._crops(count)
        order = torch.arange(count, device=images.device)
        thin, alone = order < thin_count, order >= count - round(ALONE_SHARE * count)
        holes = torch.where(alone.view(-1, 1, 1, 1), torch.ones_like(holes), holes)
        posterior = self.vae.encode(images).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=self.generator, device=images.device)
        latents = posterior.mean + posterior.std * noise
        blank = self.vae.encode(images, holes).latent_dist.mean
        worst = torch.where(thin, WORST_NOISE, SLIGHT_NOISE)
        spoilt = spoil(latents, blank, holes, thin, worst, self.spoiling)
        pool.add(self._batch(images, holes, torch.where(alone.view(-1, 1, 1, 1), latents, spoilt)))

    @torch.no_grad()
    def add_sampled(self, pool: DecoderPool, denoiser: Denoiser, count: int) -> None:
        """Add crops beside latents that a denoiser samples over the holes, half of them by each of ``SAMPLERS``."""
        images, holes, _ = self._crops(count)
        order = torch.randperm(count, generator=self.generator, device=images.device)
        for part, (solver, steps) in zip(order.chunk(len(SAMPLERS)), SAMPLERS, strict=False):
            sampled = self._sample(denoiser, images[part], holes[part], solver, steps)
            pool.add(self._batch(images[part], holes[part], sampled / self.vae.config.scaling_factor))

    def _batch(self, images: Tensor, holes: Tensor, latents: Tensor) -> DecoderBatch:
        return DecoderBatch(images, holes, self.vae.base(images * (1 - holes), holes), latents)

    def _sample(self, denoiser: Denoiser, images: Tensor, holes: Tensor, solver: str, steps: int) -> Tensor:
        """(B, C, h, w), scaled."""
        config, device = denoiser.config, images.device
        shape = (2, len(images), config.latent_channels, config.latent_size, config.latent_size)
        start, noise = torch.randn(shape, generator=self.generator, device=device)
        masked = encode(self.vae, images * (1 - holes), noise, holes)
        ids = torch.arange(CONDITION_IDS.start, CONDITION_IDS.stop, device=device).expand(len(images), -1)

        def predict(inputs: Tensor, timestep: int) -> Tensor:
            return denoiser(inputs, torch.full((1,), timestep, device=device), ids)

        mask = latent_mask(holes, config.latent_size)
        return sampling_loop(predict, masked, mask, masked, steps=steps, strength=STRENGTH, noise=start, solver=solver)

    def _crops(self, count: int) -> tuple[Tensor, Tensor, int]:
        """Images and holes, those with thin holes first, and the number of these."""
        thin_count = round(THIN_SHARE * count)
        parts: list[tuple[int, Sequence[str]]] = [(thin_count, THIN_KINDS), (count - thin_count, WIDE_KINDS)]
        holes = torch.cat([self.masks.draw(number, kinds, self.generator) for number, kinds in parts if number])
        return self.crops.draw(count, self.generator), holes, thin_count
