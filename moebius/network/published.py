"""Denoisers from checkpoints with published key names: one table of names, strict loading."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from moebius.checkpoint import check_entries, computable
from moebius.network.averaged_file import read_published
from moebius.network.config import MoebiusConfig
from moebius.network.denoiser import Denoiser

# Our module names → published ones; "parent.child" is looked up before "child".
PUBLISHED_NAMES = {
    "categories": "embedding_layer",
    "context": "diff_model.encoder_hid_proj",
    "time": "diff_model.time_embedding",
    "time.linear_in": "linear_1",
    "time.linear_out": "linear_2",
    "conv_in": "diff_model.conv_in",
    "norm_out": "diff_model.conv_norm_out",
    "conv_out": "diff_model.conv_out",
    "down_levels": "diff_model.down_blocks",
    "up_levels": "diff_model.up_blocks",
    "downsample": "downsamplers.0.conv",
    "upsample": "upsamplers.0.conv",
    "residuals": "resnets",
    "residuals.norm_in": "norm1",
    "residuals.conv_in": "conv1",
    "residuals.time": "time_emb_proj",
    "residuals.norm_out": "norm2",
    "residuals.conv_out": "conv2",
    "residuals.shortcut": "conv_shortcut",
    "depthwise": "conv_dw",
    "depthwise_norm": "bn1",
    "pointwise": "conv_pw",
    "pointwise_norm": "bn2",
    "transformers": "attentions",
    "transformers.project_in": "proj_in",
    "transformers.project_out": "proj_out",
    "transformers.local_norm": "transformer_blocks.0.norm1",
    "transformers.local": "transformer_blocks.0.attn1",
    "transformers.interactive_norm": "transformer_blocks.0.norm2",
    "transformers.interactive": "transformer_blocks.0.attn2",
    "transformers.feed_forward_norm": "transformer_blocks.0.norm3",
    "transformers.feed_forward": "transformer_blocks.0.ff",
    "feed_forward.expand": "inverted_conv.conv",
    "feed_forward.depthwise": "depth_conv.conv",
    "feed_forward.project": "point_conv.conv",
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "query_norm": "norm_q",
    "value_norm": "norm_v",
    "position": "pos_conv",
    "table": "rel_pos_emb",
}


def published_name(name: str) -> str:
    """Return the published key of one of our state-dict keys; indices and the last part (``weight``, ``bias`` …) stay.

    >>> published_name("down_levels.0.residuals.1.conv_in.depthwise.weight")
    'diff_model.down_blocks.0.resnets.1.conv1.conv_dw.weight'
    """
    published, parent = [], ""
    for part in name.split("."):
        published.append(PUBLISHED_NAMES.get(f"{parent}.{part}") or PUBLISHED_NAMES.get(part, part))
        parent = parent if part.isdigit() else part
    return ".".join(published)


def load_denoiser(path_or_state_dict: str | Path | Mapping[str, Tensor], config: MoebiusConfig) -> Denoiser:
    """Build a denoiser in evaluation mode from a checkpoint with published keys.

    Args:
        path_or_state_dict: ``.bin``, ``.EMA.bin`` or ``.safetensors`` file, or the state dict itself.
        config: sizes that the checkpoint was made for.

    Raises:
        CheckpointError: unreadable, or keys or shapes that differ; the message lists them.
    """
    if isinstance(path_or_state_dict, Mapping):
        state_dict, origin = path_or_state_dict, "the state dict"
    else:
        state_dict, origin = read_published(path_or_state_dict), str(path_or_state_dict)
    with torch.device("meta"):
        model = Denoiser(config)
    own = model.state_dict()
    names = {published_name(name): name for name in own}
    check_entries(state_dict, {key: own[name] for key, name in names.items()}, f"{origin} does not fit {config}")
    model.load_state_dict({name: computable(state_dict[key]) for key, name in names.items()}, assign=True)
    return model.eval().requires_grad_(False)
