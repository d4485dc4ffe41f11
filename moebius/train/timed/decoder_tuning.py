"""Fine-tuning of the small decoder with perceptual and adversarial losses, beside latents that the denoiser sampled.

The encoder stays as it is, so that denoisers know its latents. True latents are decoded towards the true pixels and
features. Sampled ones hold something else than the truth, so they are judged by local means, by the statistics of
features and by the discriminator. Only pixels near known ones are compared with the truth, since the known ones
determine them; in letters, these are all pixels.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim import AdamW

from moebius.autoencoder.small import SmallAutoencoder
from moebius.train.losses.efficientnet_lite import LiteFeatures, feature_distances, statistics_distances
from moebius.train.optimization.ema import Ema
from moebius.train.optimization.optimizers import ADAMW_BETAS
from moebius.train.tasks.autoencoder import reconstruction_loss
from moebius.train.timed.clock import Clock, falling_share
from moebius.train.timed.decoder_losses import hole_mean, lattice_loss, sampled_loss
from moebius.train.timed.decoder_samples import DecoderBatch, DecoderPool, DecoderSamples

logger = logging.getLogger(__name__)
FEATURE_WEIGHT = 0.05
STATISTICS_WEIGHT = 0.05
ADVERSARIAL_WEIGHT = 0.03
LATTICE_WEIGHT = 2.0
WARM_UP, FALL = 0.02, 1 / 3  # shares of the time in which the rate grows and falls
ADVERSARIAL_FROM = 0.1  # share of the time without the discriminator
DISCRIMINATOR_RATE = 0.5  # of that of the decoder
DISCRIMINATOR_BETAS = (0.5, 0.99)
CLIP_NORM = 1.0
REFILL_STEPS = 16  # after which new crops with true latents are encoded
EMA_EVERY = 8
PHASES = 8  # offsets per axis at which features and the discriminator see crops: fixed strides may leave a grid


class PatchDiscriminator(nn.Sequential):
    """Tells patches of 22 px of fills from those of photos: (B, 3, H, W) → (B, 1, H/8, W/8)."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128)) -> None:
        layers: list[nn.Module] = []
        for before, width in zip((3, *widths), widths, strict=False):
            layers += [spectral_norm(nn.Conv2d(before, width, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        super().__init__(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1)))


@dataclass(frozen=True)
class DecoderSettings:
    """How the decoder is tuned; half of a batch has true latents, half sampled ones.

    Args:
        batch_size: crops per step, even.
        learning_rate: after the warm-up.
        ema_decay: of the averaged weights, per step.
        pool_size: crops with true latents that are kept, and at most of sampled ones.
    """

    batch_size: int = 64
    learning_rate: float = 7e-4
    ema_decay: float = 0.998
    pool_size: int = 8192


class DecoderTuning:
    """The decoder of an autoencoder, its discriminator and their optimizers.

    Args:
        vae: whose decoder is trained in place.
        features: what perceives.
        settings: see there.
        seed: of the discriminator's first weights and of the draws.
    """

    def __init__(self, vae: SmallAutoencoder, features: LiteFeatures, settings: DecoderSettings, seed: int) -> None:
        self.vae, self.features, self.settings = vae, features, settings
        self.device = next(vae.parameters()).device
        vae.train().decoder.requires_grad_(True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.discriminator = PatchDiscriminator().to(self.device)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.offsets = random.Random(seed)
        rate, critic_rate = settings.learning_rate, DISCRIMINATOR_RATE * settings.learning_rate
        self.optimizer = AdamW(vae.decoder.parameters(), lr=rate, betas=ADAMW_BETAS, weight_decay=0.0)
        critic = self.discriminator.parameters()
        self.critic_optimizer = AdamW(critic, lr=critic_rate, betas=DISCRIMINATOR_BETAS, weight_decay=0.0)

    def step(self, true: DecoderBatch, sampled: DecoderBatch, share: float, is_adversarial: bool) -> dict[str, Tensor]:
        """One step of both networks at ``share`` of their rates; returns detached losses by name."""
        count = len(true.images)
        both = DecoderBatch(*(torch.cat(pair) for pair in zip(_parts(true), _parts(sampled), strict=True)))
        decoded = both.colours + self.vae.decoder(both.latents, torch.cat([both.colours, both.holes], dim=1))
        pasted = both.images + both.holes * (decoded - both.images)
        images, pasted, holes = self._shifted(both.images, pasted, both.holes)
        with torch.no_grad():
            truth = self.features(images)
        seen = self.features(pasted)
        losses = {
            "reconstruction": reconstruction_loss(decoded[:count], true.images, true.holes),
            "features": feature_distances([m[:count] for m in seen], [m[:count] for m in truth], holes[:count]).mean(),
            "means": sampled_loss(decoded[count:], sampled),
            "statistics": statistics_distances([m[count:] for m in seen], [m[count:] for m in truth]).mean(),
            "lattice": lattice_loss(decoded, both.images, both.holes),
        }
        total = losses["reconstruction"] + FEATURE_WEIGHT * losses["features"]
        total = total + losses["means"] + STATISTICS_WEIGHT * losses["statistics"]
        total = total + LATTICE_WEIGHT * losses["lattice"]
        if is_adversarial:
            losses["critic"] = self._train_critic(images, pasted.detach(), holes, share)
            self.discriminator.requires_grad_(False)
            losses["adversarial"] = -hole_mean(self.discriminator(pasted), holes)
            self.discriminator.requires_grad_(True)
            total = total + ADVERSARIAL_WEIGHT * losses["adversarial"]
        self.optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.vae.decoder.parameters(), CLIP_NORM)
        _set_rate(self.optimizer, share * self.settings.learning_rate)
        self.optimizer.step()
        return {"total": total.detach()} | {name: loss.detach() for name, loss in losses.items()}

    def _shifted(self, *parts: Tensor) -> tuple[Tensor, ...]:
        """Cut the same part, ``PHASES - 1`` smaller, out of (B, …, H, W) tensors, at an offset that is drawn."""
        top, left = self.offsets.randrange(PHASES), self.offsets.randrange(PHASES)
        height, width = (length - PHASES + 1 for length in parts[0].shape[-2:])
        return tuple(part[..., top : top + height, left : left + width] for part in parts)

    def _train_critic(self, images: Tensor, pasted: Tensor, holes: Tensor, share: float) -> Tensor:
        """Take a step of the hinge loss on the patches in holes."""
        real, fake = self.discriminator(torch.cat([images, pasted])).chunk(2)
        loss = hole_mean(functional.relu(1 - real), holes) + hole_mean(functional.relu(1 + fake), holes)
        self.critic_optimizer.zero_grad()
        loss.backward()
        _set_rate(self.critic_optimizer, share * DISCRIMINATOR_RATE * self.settings.learning_rate)
        self.critic_optimizer.step()
        return loss

    def run(
        self,
        samples: DecoderSamples,
        sampled: DecoderPool,
        clock: Clock,
        save_every_s: float,
        save: Callable[[dict[str, Tensor]], object],
    ) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
        """Train until the time of the clock is over.

        Args:
            samples: of true latents.
            sampled: crops beside sampled latents, at least one.
            clock: of this stage.
            save_every_s: how often ``save`` is called with the averaged weights of the autoencoder.

        Returns:
            The averaged weights of the autoencoder, and rows of losses.

        Raises:
            FloatingPointError: the loss became infinite or not a number; ``save`` had what was good before.
        """
        half, true = self.settings.batch_size // 2, DecoderPool(self.settings.pool_size, self.device)
        ema, rows, done, last_saved = Ema(self.vae, self.settings.ema_decay**EMA_EVERY), [], 0, clock.elapsed
        samples.add_true(true, REFILL_STEPS * half)
        while clock.share < 1:
            share = clock.share
            batches = true.draw(half, self.generator), sampled.draw(half, self.generator)
            losses = self.step(*batches, falling_share(share, WARM_UP, FALL), share >= ADVERSARIAL_FROM)
            done += 1
            if done % REFILL_STEPS == 0:
                samples.add_true(true, REFILL_STEPS * half // 4)
            if done % EMA_EVERY:
                continue
            if not math.isfinite(float(losses["total"])):
                raise FloatingPointError(f"the loss at step {done} is {float(losses['total'])}: lower the rate")
            ema.update(self.vae, done // EMA_EVERY)
            rows.append({"s": round(clock.elapsed, 2), "step": done} | {k: float(v) for k, v in losses.items()})
            if clock.elapsed - last_saved > save_every_s:
                last_saved = clock.elapsed
                save(ema.state)
        return ema.state, rows


def _parts(batch: DecoderBatch) -> tuple[Tensor, ...]:
    return batch.images, batch.holes, batch.colours, batch.latents


def _set_rate(optimizer: AdamW, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
