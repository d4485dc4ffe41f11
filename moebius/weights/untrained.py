"""Models with random weights that are always the same: they show the pipeline, not the quality of the model."""

import torch
from torch import nn

from moebius.autoencoder.kl import KlAutoencoder, KlAutoencoderConfig
from moebius.network.config import MoebiusConfig
from moebius.network.denoiser import Denoiser

UNTRAINED_CONFIG = MoebiusConfig(
    channels=(32, 64, 128), image_size=256, category_width=96, context_width=48, heads=8, vae_factor=8
)
UNTRAINED_SEED = 20260619


def untrained_model() -> tuple[Denoiser, KlAutoencoder]:
    """Build a denoiser and an autoencoder in evaluation mode, with weights drawn from a fixed seed."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(UNTRAINED_SEED)
        denoiser = Denoiser(UNTRAINED_CONFIG)
        vae = untrained_vae(UNTRAINED_CONFIG.latent_channels)
        vae.decoder.conv_out.weight.mul_(0.05)  # nearly flat fills, rather than noise in loud colours
    return denoiser.eval().requires_grad_(False), vae


def untrained_vae(latent_channels: int = 4) -> KlAutoencoder:
    """Build a small autoencoder of factor 8 with random weights from torch's current random state."""
    config = KlAutoencoderConfig(
        block_out_channels=(16, 32, 32, 32),
        latent_channels=latent_channels,
        norm_num_groups=8,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )
    return KlAutoencoder(config).eval().requires_grad_(False)


def randomise(model: nn.Module) -> None:
    """Put a model into evaluation mode, with none of the zeros and ones that new layers start from.

    The added values are positive and negative alike: otherwise maps grow from layer to layer, out of float16.
    """
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            tensor.data.add_(torch.rand_like(tensor).sub_(0.5), alpha=0.1)
    model.eval()
