"""The attention of the autoencoder by bands of queries: on CPUs sooner than PyTorch's own, which is for many heads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from moebius.fast.fold import ChannelsLastGroupNorm, linear
from moebius.fast.products import product

BAND = 512  # queries whose scores stay in the cache


class SingleHeadAttention(nn.Module):
    """In the place of diffusers' ``Attention`` of a map with itself, with the norm before it and the sum after it."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        assert is_usual_attention(layer)
        weights = [layer.to_q.weight * layer.scale, layer.to_k.weight, layer.to_v.weight]
        biases = [layer.to_q.bias * layer.scale, layer.to_k.bias, layer.to_v.bias]
        self.norm = ChannelsLastGroupNorm(layer.group_norm, affine=False)
        self.project = linear(torch.cat(weights), torch.cat(biases), layer.group_norm)
        self.project_out = linear(layer.to_out[0].weight, layer.to_out[0].bias)

    def forward(self, planes: Tensor, temb: None = None) -> Tensor:
        """(B, C, H, W) → (B, C, H, W), both channels-last in memory."""
        features = planes.permute(0, 2, 3, 1)
        projected = self.project(self.norm(features)).flatten(1, 2)
        attended = torch.stack([self._attend(*sample.chunk(3, dim=-1)) for sample in projected])
        return self.project_out(attended).view(features.shape).add_(features).permute(0, 3, 1, 2)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(N, C) each → (N, C)."""
        keys, values = keys.contiguous(), values.T.contiguous()
        bands = [product(product(band, keys).softmax(dim=-1), values) for band in queries.split(BAND)]
        return torch.cat(bands)


def is_usual_attention(layer: Any) -> bool:
    """Whether an attention is one that :class:`SingleHeadAttention` equals."""
    others = (layer.spatial_norm, layer.norm_q, layer.norm_k)
    is_single = layer.heads == 1 and not layer.is_cross_attention and all(other is None for other in others)
    is_whole = layer.group_norm is not None and layer.residual_connection and layer.rescale_output_factor == 1
    return is_single and is_whole and all(part.bias is not None for part in (layer.to_q, layer.to_k, layer.to_v))
