"""Checkpoints with published key names: one table of names, strict loading, no pickled code."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from moebius.config import MoebiusConfig
from moebius.denoiser import Denoiser

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


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or does not fit the model."""


def published_name(name: str) -> str:
    """The published key of one of our state-dict keys; indices and the last part (``weight``, ``bias`` …) stay.

    >>> published_name("down_levels.0.residuals.1.conv_in.depthwise.weight")
    'diff_model.down_blocks.0.resnets.1.conv1.conv_dw.weight'
    """
    published, parent = [], ""
    for part in name.split("."):
        published.append(PUBLISHED_NAMES.get(f"{parent}.{part}") or PUBLISHED_NAMES.get(part, part))
        parent = parent if part.isdigit() else part
    return ".".join(published)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors``, or from a ``torch.save``d file without running pickled code.

    Raises:
        CheckpointError: no such file, or a file that is not a state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state_dict = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} is not a readable checkpoint: {error}") from error
    if not isinstance(state_dict, dict) or not all(isinstance(value, Tensor) for value in state_dict.values()):
        raise CheckpointError(f"{path} must hold one flat state dict of tensors")
    return state_dict


def write_state_dict(state_dict: Mapping[str, Tensor], path: str | Path) -> None:
    """Write ``.safetensors``, or the ``torch.save`` format of published checkpoints for any other suffix."""
    if Path(path).suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in state_dict.items()}, path)
    else:
        torch.save(dict(state_dict), path)


def load_denoiser(path_or_state_dict: str | Path | Mapping[str, Tensor], config: MoebiusConfig) -> Denoiser:
    """Build a denoiser in evaluation mode from a checkpoint with published keys.

    Args:
        path_or_state_dict: ``.bin`` or ``.safetensors`` file, or the state dict itself.
        config: sizes that the checkpoint was made for.

    Raises:
        CheckpointError: unreadable, or keys or shapes that differ; the message lists them.
    """
    if isinstance(path_or_state_dict, Mapping):
        state_dict, origin = path_or_state_dict, "the state dict"
    else:
        state_dict, origin = read_state_dict(path_or_state_dict), str(path_or_state_dict)
    with torch.device("meta"):
        model = Denoiser(config)
    own_shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    names = {published_name(name): name for name in own_shapes}
    faults = [_listing("missing", names.keys() - state_dict.keys())]
    faults += [_listing("unexpected", state_dict.keys() - names.keys())]
    faults += [
        f"{key} is {tuple(state_dict[key].shape)}, expected {own_shapes[name]}"
        for key, name in names.items()
        if key in state_dict and tuple(state_dict[key].shape) != own_shapes[name]
    ][:5]
    if any(faults):
        raise CheckpointError(f"{origin} does not fit {config}: " + "; ".join(filter(None, faults)))
    model.load_state_dict({name: _computable(state_dict[key]) for key, name in names.items()}, assign=True)
    return model.eval().requires_grad_(False)


def _computable(value: Tensor) -> Tensor:
    """Files may hold half as many bytes; what is computed in is for the caller to say."""
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def _listing(what: str, keys: set[str]) -> str:
    shown = ", ".join(sorted(keys)[:5])
    return f"{len(keys)} {what} keys ({shown}{', …' if len(keys) > 5 else ''})" if keys else ""
