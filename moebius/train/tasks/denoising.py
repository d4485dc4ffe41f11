"""Training of the denoiser, by itself (``diffusion``) or with a teacher (``distil``)."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from moebius.autoencoder.vae import check_latents, decode, encode_pairs, load_vae
from moebius.checkpoint import write_state_dict
from moebius.network.config import MoebiusConfig
from moebius.network.denoiser import Denoiser
from moebius.network.functional import latent_mask
from moebius.network.published import load_denoiser, published_name
from moebius.sampling.sampler import ddim_sample
from moebius.train.data.batches import NoisyBatch, joined, noise_latents, noisy_batch
from moebius.train.data.cached_latents import CachedLatents
from moebius.train.data.source import Crops, CropSource, EncodedCrops, PackedSource, process_index
from moebius.train.logs.grids import write_grid
from moebius.train.optimization.devices import choose_device
from moebius.train.optimization.recompute import recompute_blocks
from moebius.train.photos import PhotoCrops
from moebius.train.settings import MIN_NOISE_WEIGHT, TrainSettings
from moebius.train.tasks.distillation import Distillation

GRID_SEED = 7
GRID_SAMPLES = 8
GRID_STEPS = 20
VALIDATION_PAIRS = 256
VALIDATION_BATCH = 16
VALIDATION_SEED = 11
PASSING_BIAS = 4.0


def fresh_denoiser(config: MoebiusConfig) -> Denoiser:
    """Build a denoiser from torch's random state whose first layer passes its nine channels on.

    That layer is one 3×3 filter per channel and a ReLU, which would cut off half of the noisy latents: here the filters
    begin as identities, and a bias of four deviations keeps the ReLU open.
    """
    model = Denoiser(config)
    with torch.no_grad():
        model.conv_in.depthwise.weight.mul_(0.1)[:, :, 1, 1] += 1
        model.conv_in.depthwise_norm.bias.fill_(PASSING_BIAS)
    return model


def noise_losses(predicted: Tensor, batch: NoisyBatch, noise_cap: float, known_weight: float) -> dict[str, Tensor]:
    """Return the squared errors of the noise: ``total``, weighted by :class:`TrainSettings`, and ``hole``, unweighted.

    Args:
        predicted: (B, C, h, w).
        batch: batch that it was predicted from.
        noise_cap, known_weight: see :class:`TrainSettings`.
    """
    errors = (predicted - batch.noise).square()
    holes = batch.inputs[:, batch.noise.shape[1]].unsqueeze(1)
    weights = known_weight + (1 - known_weight) * holes
    if noise_cap:
        ratios = (1 - batch.alphas) / batch.alphas
        weights = weights * ratios.clamp(MIN_NOISE_WEIGHT, noise_cap).view(-1, 1, 1, 1)
    total = (errors * weights).sum() / (weights.sum() * errors.shape[1])
    hole = (errors * holes).detach().sum() / (holes.sum() * errors.shape[1]).clamp(min=1)
    return {"total": total, "hole": hole}


class DenoiserTask:
    """Training task of a denoiser on photos with random holes.

    Args:
        settings: settings of the run.
        config: sizes of the denoiser.
        state: weights to start from, with published keys; ``None``: from scratch.
        distillation: the teacher and its losses; ``None``: only the loss of the noise.
        source: where crops come from; ``None``: the packed photos of the settings.
    """

    uses_muon = True

    def __init__(
        self,
        settings: TrainSettings,
        config: MoebiusConfig,
        state: Mapping[str, Tensor] | None = None,
        distillation: Distillation | None = None,
        source: CropSource | None = None,
    ) -> None:
        self.settings, self.config, self.distillation = settings, config, distillation
        torch.manual_seed(settings.seed)
        self.model = self._new_model(state)
        self.device = choose_device(settings.device)
        self.model.train().to(self.device)
        self.vae = load_vae(settings.vae).to(self.device)
        check_latents(self.vae, config)
        self.cache = None
        if source is None:
            crops = PhotoCrops(settings.photos, config.image_size)
            source = PackedSource(crops, settings.masks, settings.seed)
            self.cache = self._latents_of(crops, settings.cached, settings.seed) if settings.cached else None
        self.source = source
        self.held_out = None
        if settings.held_out:
            held_out = PhotoCrops(settings.held_out, config.image_size)
            self.held_out = self._latents_of(held_out, VALIDATION_PAIRS, VALIDATION_SEED)

    def _new_model(self, state: Mapping[str, Tensor] | None) -> nn.Module:
        model = fresh_denoiser(self.config) if state is None else load_denoiser(state, self.config).requires_grad_(True)
        if self.settings.gradient_checkpointing:
            recompute_blocks(model)
        return model

    def _latents_of(self, crops: PhotoCrops, count: int, seed: int) -> CachedLatents:
        return CachedLatents(self.vae, crops, count, self.config.latent_size, seed, self.settings.masks)

    def losses(self, batch_index: int) -> dict[str, Tensor]:
        """Return the terms of one batch."""
        batch = self._batch(batch_index)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16):
            if self.distillation is not None:
                return self.distillation.losses(self.model, batch)
            inputs = batch.inputs.contiguous(memory_format=torch.channels_last)
            predicted = self.model(inputs, batch.timesteps, batch.category_ids)
        return noise_losses(predicted.float(), batch, self.settings.noise_cap, self.settings.known_weight)

    @torch.no_grad()
    def _batch(self, batch_index: int) -> NoisyBatch:
        settings, share = self.settings, self.settings.unconditional_share
        if self.cache is not None:
            rng = np.random.default_rng([settings.seed, batch_index, process_index()])
            clean, masked, masks = (part.to(self.device) for part in self.cache.draw(settings.batch_size, rng))
            return noisy_batch(clean, masked, masks, share, rng, settings.uniform_times)
        crops = self.source.batch(batch_index, settings.batch_size)
        generators = _generators(crops.seeds)
        if isinstance(crops, EncodedCrops):
            clean, masked, masks = (part.to(self.device) for part in (crops.clean, crops.masked, crops.masks))
        else:
            clean, masked = self._encode(crops, generators)
            masks = latent_mask(crops.masks.to(self.device), self.config.latent_size)
        shares = [1.0 if is_object else share for is_object in crops.objects.tolist()]
        parts = zip(clean.split(1), masked.split(1), masks.split(1), shares, generators, strict=True)
        return joined([noise_latents(*part, settings.uniform_times) for part in parts])

    def _encode(self, crops: Crops, generators: list[torch.Generator]) -> tuple[Tensor, Tensor]:
        """Return scaled latents of images and of masked images, (B, C, h, w) each; every sample has its own noise."""
        shape = (2, 1, self.config.latent_channels, self.config.latent_size, self.config.latent_size)
        noise = torch.cat([torch.randn(shape, generator=generator) for generator in generators], dim=1)
        images, masks = crops.images.to(self.device), crops.masks.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16):
            return encode_pairs(self.vae, images, masks, noise.to(self.device))

    def export(self, state: Mapping[str, Tensor], folder: Path) -> None:
        """Write the denoiser with published keys and its sizes, and the autoencoder beside it."""
        published = {published_name(name): value for name, value in state.items()}
        write_state_dict(published, folder / "diffusion_pytorch_model.safetensors")
        (folder / "config.json").write_text(json.dumps(dataclasses.asdict(self.config), indent=1) + "\n")
        self.vae.save_pretrained(folder / "vae")

    @torch.no_grad()
    def validate(self, state: Mapping[str, Tensor]) -> dict[str, float]:
        """Measure the mean squared error of the noise, everywhere and in holes; all runs draw the same timesteps."""
        if self.held_out is None:
            return {}
        model, rng = self._averaged(state), np.random.default_rng(VALIDATION_SEED)
        errors = []
        for indices in np.arange(VALIDATION_PAIRS).reshape(-1, VALIDATION_BATCH):
            clean, masked, masks = (part.to(self.device) for part in self.held_out.take(indices))
            batch = noisy_batch(clean, masked, masks, 0.0, rng, uniform_times=True)
            predicted = model(batch.inputs, batch.timesteps, batch.category_ids)
            losses = noise_losses(predicted, batch, noise_cap=0.0, known_weight=1.0)
            errors.append([float(losses["total"]), float(losses["hole"])])
        total, hole = np.mean(errors, axis=0)
        return {"noise": float(total), "hole": float(hole)}

    def _averaged(self, state: Mapping[str, Tensor]) -> nn.Module:
        model = copy.deepcopy(self.model)
        model.load_state_dict(dict(state))
        return model.eval()

    @torch.no_grad()
    def draw_grid(self, state: Mapping[str, Tensor], target: Path) -> None:
        """Draw rows: photo, photo with its hole, filled from pure noise, the same pasted into the photo."""
        crops = self.source.examples(GRID_SAMPLES)
        clean, masked = self._encode(crops, _generators(crops.seeds))
        images, masks = crops.images.to(self.device), crops.masks.to(self.device)
        model = self._averaged(state)
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(GRID_SEED)).to(self.device)
        holes = latent_mask(masks, self.config.latent_size)
        filled = ddim_sample(model, clean, holes, masked, steps=GRID_STEPS, guidance=1.0, strength=1.0, noise=noise)
        decoded = decode(self.vae, filled, images * (1 - masks), masks)
        write_grid([images, images * (1 - masks), decoded, images + masks * (decoded - images)], target)


def _generators(seeds: Tensor) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]
