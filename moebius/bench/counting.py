"""Operations and bytes of a model, counted on tensors without data."""

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from moebius.autoencoder import vae as autoencoder
from moebius.autoencoder.kl import KlAutoencoder, KlAutoencoderConfig
from moebius.autoencoder.small import SmallAutoencoder, SmallAutoencoderConfig
from moebius.fast import FastDenoiser
from moebius.network.config import MoebiusConfig
from moebius.network.denoiser import Denoiser
from moebius.sampling.sampler import CONDITION_IDS, UNCONDITIONAL_IDS


def step_macs(config: MoebiusConfig, is_fast: bool) -> int:
    """Count the multiply-accumulates of one guided step of one window, both branches."""
    with torch.device("meta"), torch.no_grad():
        denoiser = Denoiser(config).eval()
        latents = torch.empty(1, 2 * config.latent_channels + 1, config.latent_size, config.latent_size)
        if is_fast:
            fast = FastDenoiser(denoiser, (CONDITION_IDS, UNCONDITIONAL_IDS))
            biases = torch.empty(sum(fast.bias_widths))
            return _macs(lambda: fast(latents, biases, 2))
        ids = torch.zeros(2, config.categories // 2, dtype=torch.long)
        return _macs(lambda: denoiser(latents.expand(2, -1, -1, -1), torch.zeros(1), ids))


def vae_macs(vae_config: KlAutoencoderConfig | SmallAutoencoderConfig, config: MoebiusConfig) -> int:
    """Count the multiply-accumulates of the plain autoencoder for one window: two encodings and one decoding."""
    with torch.device("meta"), torch.no_grad():
        if isinstance(vae_config, SmallAutoencoderConfig):
            vae: autoencoder.Autoencoder = SmallAutoencoder(vae_config)
        else:
            vae = KlAutoencoder(vae_config)
        images = torch.empty(2, 3, config.image_size, config.image_size)
        noise = torch.empty(2, config.latent_channels, config.latent_size, config.latent_size)
        return _macs(lambda: (autoencoder.encode(vae, images, noise), autoencoder.decode(vae, noise[:1])))


def weight_bytes(model: nn.Module) -> int:
    """Count the bytes that each call reads whatever the batch size: parameters and buffers."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def parameter_count(model: nn.Module) -> int:
    """Count the parameters of a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def _macs(call: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() // 2
