"""Training of the small autoencoder: absolute error of pixels, of their differences and of local means, slight KL.

Half the crops (a quarter, where a decoder is trained further) are decoded only from their latents, which makes the
latents complete; the others with the known pixels around random holes. There latents are as wrong as a denoiser's:
noisy, and in thin holes often those of another crop or of the blanked one, so that the decoder learns what to trust:
the known pixels where they are near, else the latents. A decoder that is trained further sees little noise except in
thin holes, and so draws more sharply.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from moebius.autoencoder.small import SMOOTHING_STEPS, SmallAutoencoder, SmallAutoencoderConfig
from moebius.autoencoder.vae import load_vae
from moebius.checkpoint import CheckpointError
from moebius.train.data.random_masks import random_mask
from moebius.train.data.source import Crops, CropSource, PackedSource, process_index
from moebius.train.logs.grids import write_grid
from moebius.train.optimization.devices import choose_device
from moebius.train.photos import PhotoCrops
from moebius.train.settings import TrainSettings

KL_WEIGHT = 1e-3
GRADIENT_WEIGHT = 0.5
MEAN_WEIGHT = 0.5
MEAN_PX = 4
CROP_PX = 128
KNOWN_WEIGHT = 0.1  # of pixels outside the hole, which nobody will use
WORST_NOISE = 3.0  # added to latents, in their deviations
SLIGHT_NOISE = 0.3  # the same beside holes that are not thin, where the encoder is not trained
NEW_KINDS = ("beside", "alone", "thin", "alone")  # of crops, in turn: decoded beside a hole, alone, beside thin holes
FURTHER_KINDS = ("beside", "alone", "thin", "thin")  # where the encoder is not trained
HELD_OUT_SEED = 7
MEASURED_CROPS = 64
GRID_CROPS = 8


def reconstruction_loss(decoded: Tensor, images: Tensor, holes: Tensor) -> Tensor:
    """Sum the mean absolute errors of (B, 3, H, W) images, of differences of neighbours and of means of 4×4 pixels.

    The means carry the colour, which otherwise comes long after edges and brightness. Pixels outside the
    (B, 1, H, W) holes count less.
    """
    weights = KNOWN_WEIGHT + (1 - KNOWN_WEIGHT) * holes
    errors = (decoded - images) * weights
    loss = errors.abs().mean()
    for axis in (2, 3):
        loss = loss + GRADIENT_WEIGHT * errors.diff(dim=axis).abs().mean()
    loss = loss + MEAN_WEIGHT * functional.avg_pool2d(errors, MEAN_PX).abs().mean()
    return loss / weights.mean()


def spoil(
    clean: Tensor, blank: Tensor, holes: Tensor, thin: Tensor, worst: Tensor, generator: torch.Generator
) -> Tensor:
    """Make latents about as wrong as those of a denoiser, (B, C, h, w).

    Args:
        clean: (B, C, h, w), of the images.
        blank: (B, C, h, w), of the images with colours spread over their holes.
        holes: (B, 1, H, W), 1 = not known.
        thin: (B,) bool: thin holes; half of their latents are those of ``blank``, a quarter those of another crop.
        worst: (B,), the most noise that may be added, in deviations of the latents.
        generator: on the CPU.
    """
    count, device = len(clean), clean.device
    noise = torch.randn(clean.shape, generator=generator).to(device) * clean.std()
    thin, worst = thin.view(-1, 1, 1, 1), worst.view(-1, 1, 1, 1)
    noisy = clean + worst * torch.rand(count, 1, 1, 1, generator=generator).square().to(device) * noise
    choice = torch.randint(4, (count, 1, 1, 1), generator=generator).to(device) * thin
    lost = functional.adaptive_max_pool2d(holes, clean.shape[-2:]) > 0
    return torch.where(lost & (choice >= 2), blank, torch.where(lost & (choice == 1), clean.roll(1, dims=0), noisy))


class AutoencoderTask:
    """Training task of the small autoencoder; each export measures the scale that gives latents the deviation 1.

    Args:
        settings: settings of the run; with ``vae`` set, only the decoder of that autoencoder is trained further.
        source: where crops come from, of which only the images are used; ``None``: the packed photos of the settings.
    """

    uses_muon = False

    def __init__(self, settings: TrainSettings, source: CropSource | None = None) -> None:
        self.settings = settings
        torch.manual_seed(settings.seed)
        self.device = choose_device(settings.device)
        self.model = self._new_model().to(self.device)
        self.source = source or PackedSource(PhotoCrops(settings.photos, CROP_PX), settings.masks, settings.seed)
        self.held_out = PhotoCrops(settings.held_out, CROP_PX) if settings.held_out else None

    def _new_model(self) -> SmallAutoencoder:
        if not self.settings.vae:
            return SmallAutoencoder(SmallAutoencoderConfig(smoothing_steps=SMOOTHING_STEPS))
        model = load_vae(self.settings.vae).train()
        if not isinstance(model, SmallAutoencoder):
            raise CheckpointError(
                f"only a small autoencoder can be trained further, {self.settings.vae} holds a published one; "
                "an empty vae starts a new one"
            )
        model.decoder.requires_grad_(True)  # latents stay what denoisers know
        return model

    def losses(self, batch_index: int) -> dict[str, Tensor]:
        """Return the terms of one batch."""
        rng = np.random.default_rng([self.settings.seed, batch_index, process_index()])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        crops = self.source.batch(batch_index, self.settings.batch_size)
        assert isinstance(crops, Crops)  # nobody encodes them for an autoencoder
        images = crops.images.to(self.device, memory_format=torch.channels_last)
        order = FURTHER_KINDS if self.settings.vae else NEW_KINDS
        kinds = np.resize(np.array(order), len(images))
        holes = torch.ones(len(images), 1, CROP_PX, CROP_PX)
        for index in np.flatnonzero(kinds != "alone"):
            brushes = ("thin",) if kinds[index] == "thin" else self.settings.masks
            holes[index, 0] = torch.from_numpy(random_mask(CROP_PX, rng, brushes))
        holes = holes.to(self.device)
        parts = {kind: torch.from_numpy(kinds == kind).to(self.device) for kind in sorted(set(order))}
        alone, thin = parts["alone"], parts["thin"]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16):
            posterior = self.model.encode(images).latent_dist
            mean, log_variance = posterior.mean.float(), posterior.logvar.float()
            noise = torch.randn(mean.shape, generator=generator).to(self.device)
            latents = mean + (0.5 * log_variance).exp() * noise
            blank = self.model.encode(images, holes).latent_dist.mean.float().detach()
            least = SLIGHT_NOISE if self.settings.vae else WORST_NOISE
            worst = torch.where(thin, WORST_NOISE, least)
            spoilt = spoil(latents.detach(), blank, holes, thin, worst, generator)
            latents = torch.where(alone.view(-1, 1, 1, 1), latents, spoilt)
            decoded = self.model.decode(latents, images * (1 - holes), holes).sample.float()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        reconstruction = reconstruction_loss(decoded, images, holes)
        squares = ((decoded.detach() - images).square().mean(dim=1, keepdim=True) * holes).sum(dim=(1, 2, 3))
        areas = holes.sum(dim=(1, 2, 3))
        losses = {"total": reconstruction + KL_WEIGHT * kl, "kl": kl}
        for kind in sorted(set(kinds)):
            part = parts[kind]
            losses[f"psnr_{kind}"] = 10 * torch.log10(4 * areas[part].sum() / squares[part].sum())
        return losses

    @torch.no_grad()
    def export(self, state: Mapping[str, Tensor], folder: Path) -> None:
        """Write ``vae/`` with the scale of its latents."""
        vae = self._averaged(state)
        if not self.settings.vae:
            images = self.source.examples(MEASURED_CROPS).images.to(self.device)
            latents = torch.cat([vae.encode(part).latent_dist.mean for part in images.split(16)])
            vae.config = replace(vae.config, scaling_factor=round(1 / float(latents.std()), 5))
        vae.save_pretrained(folder / "vae")

    @torch.no_grad()
    def validate(self, state: Mapping[str, Tensor]) -> dict[str, float]:
        """Measure the peak signal-to-noise ratio of whole crops that were encoded and decoded, always the same ones."""
        if self.held_out is None:
            return {}
        images = self.held_out.batch(MEASURED_CROPS, np.random.default_rng(HELD_OUT_SEED)).to(self.device)
        vae = self._averaged(state)
        errors = [
            (vae.decode(vae.encode(part).latent_dist.mean).sample - part).square().mean() for part in images.split(16)
        ]
        return {"psnr_db": float(10 * torch.log10(4 / torch.stack(errors).mean()))}

    @torch.no_grad()
    def draw_grid(self, state: Mapping[str, Tensor], target: Path) -> None:
        """Draw crops above their reconstructions."""
        images = self.source.examples(GRID_CROPS).images.to(self.device)
        vae = self._averaged(state)
        write_grid([images, vae.decode(vae.encode(images).latent_dist.mean).sample], target)

    def _averaged(self, state: Mapping[str, Tensor]) -> SmallAutoencoder:
        vae = SmallAutoencoder(self.model.config)
        vae.load_state_dict(dict(state))
        return vae.eval().to(self.device)
