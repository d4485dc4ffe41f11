"""Training of the small autoencoder: absolute error of pixels, of their differences and of local means, slight KL."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from moebius.small_vae import SmallAutoencoder, SmallAutoencoderConfig
from moebius.train.devices import choose_device
from moebius.train.grids import write_grid
from moebius.train.loop import process_index
from moebius.train.photos import PhotoCrops
from moebius.train.settings import TrainSettings

KL_WEIGHT = 1e-3
GRADIENT_WEIGHT = 0.5
MEAN_WEIGHT = 0.5
MEAN_PX = 4
CROP_PX = 64
GRID_SEED = 7


def reconstruction_loss(decoded: Tensor, images: Tensor) -> Tensor:
    """Mean absolute error of (B, 3, H, W) images, of the differences of neighbours and of means of 4×4 pixels.

    The means carry the colour, which otherwise comes long after edges and brightness.
    """
    loss = functional.l1_loss(decoded, images)
    for axis in (2, 3):
        loss = loss + GRADIENT_WEIGHT * functional.l1_loss(decoded.diff(dim=axis), images.diff(dim=axis))
    return loss + MEAN_WEIGHT * functional.avg_pool2d(decoded - images, MEAN_PX).abs().mean()


class AutoencoderTask:
    """Crops in, crops out; the scale that gives latents the deviation 1 is measured at each export."""

    uses_muon = False

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        torch.manual_seed(settings.seed)
        self.device = choose_device(settings.device)
        self.model = SmallAutoencoder(SmallAutoencoderConfig()).to(self.device)
        self.crops = PhotoCrops(settings.photos, CROP_PX)

    def losses(self, step_index: int) -> dict[str, Tensor]:
        """Terms of one step."""
        rng = np.random.default_rng([self.settings.seed, step_index, process_index()])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        images = self.crops.batch(self.settings.batch_size, rng).to(self.device, memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16):
            posterior = self.model.encode(images).latent_dist
            mean, log_variance = posterior.mean.float(), posterior.logvar.float()
            noise = torch.randn(mean.shape, generator=generator).to(self.device)
            decoded = self.model.decode(mean + (0.5 * log_variance).exp() * noise).sample.float()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        reconstruction = reconstruction_loss(decoded, images)
        mse = functional.mse_loss(decoded.detach(), images)
        return {"total": reconstruction + KL_WEIGHT * kl, "kl": kl, "psnr": 10 * torch.log10(4 / mse)}

    @torch.no_grad()
    def export(self, state: Mapping[str, Tensor], folder: Path) -> None:
        """Write ``vae/`` with the scale of its latents."""
        vae = self._averaged(state)
        images = self.crops.batch(64, np.random.default_rng([self.settings.seed, GRID_SEED])).to(self.device)
        latents = torch.cat([vae.encode(part).latent_dist.mean for part in images.split(16)])
        vae.config = replace(vae.config, scaling_factor=round(1 / float(latents.std()), 5))
        vae.save_pretrained(folder / "vae")

    @torch.no_grad()
    def draw_grid(self, state: Mapping[str, Tensor], target: Path) -> None:
        """Crops above, what comes back below."""
        images = self.crops.batch(8, np.random.default_rng([self.settings.seed, GRID_SEED])).to(self.device)
        vae = self._averaged(state)
        write_grid([images, vae.decode(vae.encode(images).latent_dist.mean).sample], target)

    def _averaged(self, state: Mapping[str, Tensor]) -> SmallAutoencoder:
        vae = SmallAutoencoder(SmallAutoencoderConfig())
        vae.load_state_dict(dict(state))
        return vae.eval().to(self.device)
