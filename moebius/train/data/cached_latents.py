"""Latents of photos and of photos with a hole, encoded once: the autoencoder leaves the training loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from moebius.autoencoder.vae import encode_pairs
from moebius.network.functional import latent_mask
from moebius.train.data.random_masks import PUBLISHED, random_mask
from moebius.train.photos import PhotoCrops

if TYPE_CHECKING:
    from moebius.autoencoder.vae import Autoencoder

ENCODED_AT_ONCE = 16  # pairs, which bounds memory at the published size


class CachedLatents:
    """``count`` pairs of a crop and a mask; each a function of the seed and its number, encoded when first drawn.

    Args:
        vae: the autoencoder, on its device.
        crops: source of crops.
        count: pairs that are kept in memory as float16, with the mask 4·C + 1 bytes per position.
        latent_size: side of the latents, in positions.
        seed: seed of crops, masks and posteriors.
        kinds: kinds of masks, see :func:`random_mask`.
    """

    def __init__(
        self,
        vae: Autoencoder,
        crops: PhotoCrops,
        count: int,
        latent_size: int,
        seed: int,
        kinds: Sequence[str] = PUBLISHED,
    ) -> None:
        self.vae, self.crops, self.seed, self.kinds = vae, crops, seed, kinds
        self.pairs = torch.empty(count, 2, vae.config.latent_channels, latent_size, latent_size, dtype=torch.float16)
        self.masks = torch.zeros(count, 1, latent_size, latent_size, dtype=torch.bool)
        self.known = np.zeros(count, bool)

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw clean and masked latents, (count, C, h, w) float32 each, and masks (count, 1, h, w) float32."""
        return self.take(rng.integers(len(self.known), size=count))

    def take(self, indices: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Return the pairs of given numbers in the form of :meth:`draw`."""
        missing = np.unique(indices[~self.known[indices]])
        for start in range(0, len(missing), ENCODED_AT_ONCE):
            self._encode(missing[start : start + ENCODED_AT_ONCE])
        clean, masked = self.pairs[indices].float().unbind(1)
        return clean, masked, self.masks[indices].float()

    def _encode(self, indices: np.ndarray) -> None:
        size_px, images, masks, noises = self.crops.size_px, [], [], []
        for index in indices:
            rng = np.random.default_rng([self.seed, int(index)])
            images.append(self.crops.batch(1, rng))
            masks.append(torch.from_numpy(random_mask(size_px, rng, self.kinds)).float())
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            noises.append(torch.randn(2, *self.pairs.shape[2:], generator=generator))
        image, mask, noise = torch.cat(images), torch.stack(masks)[:, None], torch.stack(noises, dim=1)
        device = next(self.vae.parameters()).device
        pairs = encode_pairs(self.vae, image.to(device), mask.to(device), noise.to(device))
        self.pairs[indices] = torch.stack(pairs, dim=1).half().cpu()
        self.masks[indices] = latent_mask(mask, self.masks.shape[-1]).bool()
        self.known[indices] = True
