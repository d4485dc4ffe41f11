"""LPIPS between latents, from a file of E-LatentLPIPS weights on this machine.

Source: arXiv 2405.05967; the weights are CC BY-NC and are not part of this project. Only the distance is computed
here, without the random augmentations over which its authors average it.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from moebius.checkpoint import check_entries, read_state_dict

# VGG16 with batch norms, by the numbers of its layers; "" stands where a pool was taken out, "M" for one that stays.
STAGES = ((64, 64, ""), (128, 128, ""), (256, 256, 256, ""), (512, 512, 512, "M"), (512, 512, 512, "M"))
ENDS = (0, 7, 14, 24, 34, 44)  # of the slices whose features are compared
SMALLEST_NORM = 1e-10


class LatentLpips(nn.Module):
    """Distance of latents as a loss: LPIPS and the mean absolute difference.

    Args:
        latent_channels: channels of the compared latents.
    """

    def __init__(self, latent_channels: int = 4) -> None:
        super().__init__()
        layers, width = list[nn.Module](), latent_channels
        for stage in STAGES:
            for out in stage:
                if isinstance(out, int):
                    layers += [nn.Conv2d(width, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
                    width = out
                else:
                    layers.append(nn.MaxPool2d(2) if out == "M" else nn.Identity())
        self.slices = nn.ModuleList(nn.Sequential(*layers[start:end]) for start, end in pairwise(ENDS))
        self.heads = nn.ModuleList(nn.Conv2d(stage[0], 1, 1, bias=False) for stage in STAGES)

    def forward(self, latents: Tensor, others: Tensor) -> Tensor:
        """(B, C, h, w) twice, scaled once; h, w at least 4 → scalar."""
        total = functional.l1_loss(latents, others)
        features, other_features = latents, others
        for part, head in zip(self.slices, self.heads, strict=True):
            features, other_features = part(features), part(other_features)
            total = total + head((_unit(features) - _unit(other_features)).square()).mean()
        return total

    def in_float32(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Return the distance of predicted clean latents to the true ones, also under autocast."""
        with torch.autocast(predicted.device.type, enabled=False):
            return self(predicted.float(), true.float())


def load_latent_lpips(path: str | Path, latent_channels: int = 4) -> LatentLpips:
    """Read ``{encoder}_latest_vgg16_tuned.pth``, frozen and in evaluation mode.

    Raises:
        CheckpointError: a file that cannot be read, lacks a weight, or is of an autoencoder of other channels.
    """
    model = LatentLpips(latent_channels)
    names = {_published_name(name): name for name in model.state_dict()}
    expected = {_published_name(name): value for name, value in model.state_dict().items()}
    state = {key: value for key, value in read_state_dict(path).items() if key in names}
    check_entries(state, expected, f"{path} does not hold E-LatentLPIPS (VGG16) of {latent_channels} channels")
    model.load_state_dict({names[key]: value for key, value in state.items()})
    return model.eval().requires_grad_(False)


def _published_name(name: str) -> str:
    kind, index, rest = name.split(".", 2)
    if kind == "heads":
        return f"lin{index}.model.1.{rest}"
    layer, entry = rest.split(".")
    return f"net.slice{int(index) + 1}.{ENDS[int(index)] + int(layer)}.{entry}"


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(dim=1, keepdim=True) + SMALLEST_NORM).sqrt()
