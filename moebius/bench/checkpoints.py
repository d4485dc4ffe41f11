"""Random weights of the published sizes, as files: loading them is measured like that of any checkpoint."""

from pathlib import Path

import torch

from moebius.autoencoder.kl import KlAutoencoder, KlAutoencoderConfig
from moebius.checkpoint import write_state_dict
from moebius.network.config import MoebiusConfig
from moebius.network.denoiser import Denoiser
from moebius.network.published import published_name

SEED = 0
PUBLISHED_VAE = KlAutoencoderConfig((128, 256, 512, 512), layers_per_block=2, scaling_factor=0.13025)


def write_random_weights(folder: Path) -> None:
    """Write a denoiser of 226 M and an autoencoder of 84 M parameters into a folder that ``find_weights`` takes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        denoiser = Denoiser(MoebiusConfig())
        vae = KlAutoencoder(PUBLISHED_VAE)
    state = {published_name(name): value for name, value in denoiser.state_dict().items()}
    write_state_dict(state, folder / "diffusion_pytorch_model.safetensors")
    vae.save_pretrained(folder / "vae")
