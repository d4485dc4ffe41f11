"""Teacher of distillation, PixelHacker: a Stable-Diffusion-1.5 U-Net whose self attention is gated linear attention."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from moebius.checkpoint import CheckpointError, check_entries, computable, read_state_dict
from moebius.network.config import MoebiusConfig
from moebius.train.teacher.linear_attention import gated_linear_attention

HEADS = 8
GATE_RANK = 16
GATE_DIVISOR = 16
NORM_EPS = 1e-6


class HeadNorm(nn.Module):
    """Root-mean-square norm over the channels of a head, times SiLU of a gate."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, features: Tensor, gate: Tensor) -> Tensor:
        """(…, width), (…, width) → (…, width)."""
        return functional.rms_norm(features, self.weight.shape, self.weight, NORM_EPS) * functional.silu(gate)


class GatedLinearAttention(nn.Module):
    """Gated linear attention, causal over the raster order of positions; queries and keys are half as wide as values.

    Replaces an attention layer of diffusers and has its module names, which published checkpoints use.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        keys = channels // 2
        self.q_proj = nn.Linear(channels, keys, bias=False)
        self.k_proj = nn.Linear(channels, keys, bias=False)
        self.v_proj = nn.Linear(channels, channels, bias=False)
        self.g_proj = nn.Linear(channels, channels, bias=False)
        self.gk_proj = nn.Sequential(nn.Linear(channels, GATE_RANK, bias=False), nn.Linear(GATE_RANK, keys))
        self.o_proj = nn.Linear(channels, channels, bias=False)
        self.g_norm_swish_gate = HeadNorm(channels // HEADS)

    def forward(self, hidden_states: Tensor, encoder_hidden_states: None = None, attention_mask: None = None) -> Tensor:
        """(B, N, C) → (B, N, C); diffusers passes the other arguments."""
        queries, keys, values, gate = (
            projection(hidden_states).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj, self.g_proj)
        )
        log_gates = functional.logsigmoid(self.gk_proj(hidden_states)) / GATE_DIVISOR
        log_gates = log_gates.unflatten(-1, (HEADS, -1)).transpose(1, 2)
        output = gated_linear_attention(queries * queries.shape[-1] ** -0.5, keys, values, log_gates)
        return self.o_proj(self.g_norm_swish_gate(output, gate).transpose(1, 2).flatten(2))


class Teacher(nn.Module):
    """Denoiser of PixelHacker; same inputs and outputs as :class:`moebius.network.denoiser.Denoiser`.

    Args:
        channels: width of each of the four levels.
        category_width: width of a learned category vector.
        context_width: width of the context.
        categories: rows of the category table.
        latent_channels: channels of the autoencoder's latents.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (320, 640, 1280, 1280),
        category_width: int = 3072,
        context_width: int = 768,
        categories: int = 20,
        latent_channels: int = 4,
    ) -> None:
        from diffusers import UNet2DConditionModel  # takes seconds to import

        super().__init__()
        self.latent_channels = latent_channels
        self.embedding_layer = nn.Embedding(categories, category_width)
        self.diff_model = UNet2DConditionModel(
            in_channels=2 * latent_channels + 1,
            out_channels=latent_channels,
            block_out_channels=channels,
            attention_head_dim=HEADS,  # diffusers' name for the number of heads
            cross_attention_dim=context_width,
            encoder_hid_dim=category_width,
            encoder_hid_dim_type="text_proj",
        )
        for module in self.diff_model.modules():
            if type(module).__name__ == "BasicTransformerBlock":
                module.attn1 = GatedLinearAttention(module.attn1.query_dim)

    @property
    def first_up_block(self) -> nn.Module:
        """Block whose output after its up-sampler the coarse loss compares."""
        return self.diff_model.up_blocks[0]

    def forward(self, latents: Tensor, timesteps: Tensor, category_ids: Tensor) -> Tensor:
        """(B, 2C + 1, h, w), (B,), (B, 10) → predicted noise (B, C, h, w)."""
        vectors = self.embedding_layer(category_ids)
        return self.diff_model(latents, timesteps, encoder_hidden_states=vectors).sample


def load_teacher(path_or_state_dict: str | Path | Mapping[str, Tensor], config: MoebiusConfig | None = None) -> Teacher:
    """Build the teacher, frozen and in evaluation mode, from published keys; all widths are read from the tensors.

    Args:
        path_or_state_dict: ``.bin`` or ``.safetensors`` file, or the state dict itself.
        config: sizes of a student, which must have the same categories and latents; ``None``: nothing is checked.

    Raises:
        CheckpointError: unreadable, keys or shapes that differ, or a teacher that does not fit the student.
    """
    given = path_or_state_dict
    state = dict(given) if isinstance(given, Mapping) else read_state_dict(given)
    try:
        categories, category_width = state["embedding_layer.weight"].shape
        context_width = state["diff_model.encoder_hid_proj.weight"].shape[0]
        latent_channels = state["diff_model.conv_out.weight"].shape[0]
        widths = tuple(state[f"diff_model.down_blocks.{level}.resnets.0.conv1.weight"].shape[0] for level in range(4))
    except KeyError as error:
        raise CheckpointError(f"a teacher's checkpoint must hold {error}") from error
    with torch.device("meta"):
        teacher = Teacher(widths, category_width, context_width, categories, latent_channels)
    check_entries(state, teacher.state_dict(), "not a teacher's checkpoint")
    teacher.load_state_dict({name: computable(value) for name, value in state.items()}, assign=True)
    if config:
        _check_student(config, latent_channels, categories, widths)
    return teacher.eval().requires_grad_(False)


def _check_student(config: MoebiusConfig, latent_channels: int, categories: int, widths: tuple[int, ...]) -> None:
    if (latent_channels, categories) != (config.latent_channels, config.categories):
        raise CheckpointError(
            f"the teacher has latents of {latent_channels} channels and {categories} categories, the denoiser of "
            f"{config.latent_channels} and {config.categories}"
        )
    if (len(config.channels), config.channels[-1]) != (len(widths) - 1, widths[-1]):
        raise CheckpointError(
            f"the denoiser must have {len(widths) - 1} levels, the last as wide as the teacher's: "
            f"got {config.channels} and {widths}"
        )
