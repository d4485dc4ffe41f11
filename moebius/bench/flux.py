"""FLUX.1-Fill-Dev for comparison: its transformer and autoencoder with random weights, on the same device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from moebius.bench.counting import parameter_count
from moebius.bench.timing import median_s

TRANSFORMER = {
    "patch_size": 1,
    "in_channels": 384,
    "out_channels": 64,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
    "axes_dims_rope": (16, 56, 56),
}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 16,
    "norm_num_groups": 32,
    "sample_size": 1024,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
STEPS, TEXT_TOKENS = 50, 512
NEEDED_BYTES = 30 << 30  # 24 GB of weights in bf16 and what is computed


class DeviceTooSmallError(ValueError):
    """The device cannot hold the model."""


@dataclass(frozen=True)
class FluxFigures:
    """Seconds for one picture.

    Args:
        parameters: of the transformer.
        steps: of the published schedule, one call each: guidance is distilled into the weights.
        step_s: one call.
        vae_s: one encoding and one decoding.
        image_s: all steps and the autoencoder.
    """

    parameters: int
    steps: int
    step_s: float
    vae_s: float
    image_s: float


def check_room(device: torch.device) -> None:
    """Refuse a device that cannot hold FLUX.1-Fill-Dev, before anything is measured.

    Raises:
        DeviceTooSmallError: no GPU, or too little memory.
    """
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    if free < NEEDED_BYTES:
        raise DeviceTooSmallError(
            f"--versus flux needs a GPU with {NEEDED_BYTES / 2**30:.0f} GiB of free memory, got {device} with "
            f"{free / 2**30:.0f}; leave it out here"
        )


@torch.inference_mode()
def measure_flux(
    device: torch.device,
    min_s: float,
    side_px: int = 512,
    transformer_config: Mapping[str, Any] = TRANSFORMER,
    vae_config: Mapping[str, Any] = VAE,
) -> FluxFigures:
    """Time a picture of a side in bf16; text encoders are left out. Nothing is downloaded."""
    from diffusers import AutoencoderKL, FluxTransformer2DModel  # take seconds to import

    transformer = _random(FluxTransformer2DModel, transformer_config, device)
    vae = _random(AutoencoderKL, vae_config, device)
    factor = 2 ** (len(vae_config["block_out_channels"]) - 1)
    latents = _noise(device, 1, vae_config["latent_channels"], side_px // factor, side_px // factor)
    pictures = _noise(device, 1, 3, side_px, side_px)
    tokens = (side_px // factor // 2) ** 2  # patches of 2×2 latents
    inputs = {
        "hidden_states": _noise(device, 1, tokens, transformer_config["in_channels"]),
        "encoder_hidden_states": _noise(device, 1, TEXT_TOKENS, transformer_config["joint_attention_dim"]),
        "pooled_projections": _noise(device, 1, transformer_config["pooled_projection_dim"]),
        "timestep": torch.full((1,), 0.5, device=device, dtype=torch.bfloat16),
        "guidance": torch.full((1,), 30.0, device=device),
        "img_ids": torch.zeros(tokens, 3, device=device),
        "txt_ids": torch.zeros(TEXT_TOKENS, 3, device=device),
    }
    step_s = median_s(lambda: transformer(**inputs), device, min_s)
    vae_s = median_s(lambda: (vae.encode(pictures), vae.decode(latents)), device, min_s)
    return FluxFigures(parameter_count(transformer), STEPS, step_s, vae_s, STEPS * step_s + vae_s)


def _random(kind: Any, config: Mapping[str, Any], device: torch.device) -> Any:
    """Build a model with random weights on its device, so that the host need not hold it."""
    with torch.device("meta"):
        model = kind.from_config(dict(config))
    model = model.to(torch.bfloat16).to_empty(device=device).eval()
    for parameter in model.parameters():
        parameter.normal_(std=0.02)
    return model


def _noise(device: torch.device, *shape: int) -> torch.Tensor:
    return torch.randn(shape, device=device, dtype=torch.bfloat16)
