"""Latents of crops and of the same crops with a hole, made on the training device and drawn from a few times each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from moebius.autoencoder.vae import encode_pairs
from moebius.network.functional import latent_mask
from moebius.train.data.device_crops import DeviceCrops
from moebius.train.data.mask_bank import MaskBank

if TYPE_CHECKING:
    from moebius.autoencoder.vae import Autoencoder


class LatentPool:
    """The last ``capacity`` pairs that were encoded, in float16; new ones replace the oldest.

    Args:
        vae: the autoencoder, on the device of the crops.
        crops: where crops come from.
        masks: where holes come from.
        kinds: of masks, drawn in equal parts.
        latent_size: side of the latents, in positions.
        capacity: pairs that are kept.
    """

    def __init__(
        self,
        vae: Autoencoder,
        crops: DeviceCrops,
        masks: MaskBank,
        kinds: Sequence[str],
        latent_size: int,
        capacity: int,
    ) -> None:
        self.vae, self.crops, self.masks, self.kinds = vae, crops, masks, kinds
        shape = (vae.config.latent_channels, latent_size, latent_size)
        self.pairs = torch.empty(capacity, 2, *shape, dtype=torch.float16, device=crops.device)
        self.holes = torch.empty(capacity, 1, *shape[1:], dtype=torch.bool, device=crops.device)
        self.encoded = 0

    @torch.no_grad()
    def encode(self, count: int, generator: torch.Generator) -> None:
        """Encode ``count`` new pairs."""
        device, capacity = self.crops.device, len(self.pairs)
        images = self.crops.draw(count, generator)
        holes = self.masks.draw(count, self.kinds, generator)
        noise = torch.randn(2, count, *self.pairs.shape[2:], generator=generator, device=device)
        pairs = torch.stack(encode_pairs(self.vae, images, holes, noise), dim=1)
        places = (self.encoded + torch.arange(count, device=device)) % capacity
        self.pairs[places] = pairs.half()
        self.holes[places] = latent_mask(holes, self.holes.shape[-1]).bool()
        self.encoded += count

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw clean and masked latents, (count, C, h, w) float32 each, and masks (count, 1, h, w) float32.

        Raises:
            ValueError: nothing was encoded yet.
        """
        filled = min(self.encoded, len(self.pairs))
        if not filled:
            raise ValueError("encode pairs before they are drawn")
        indices = torch.randint(filled, (count,), generator=generator, device=self.crops.device)
        clean, masked = self.pairs[indices].float().unbind(1)
        return clean, masked, self.holes[indices].float()
