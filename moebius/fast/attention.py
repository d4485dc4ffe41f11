"""Attention of the autoencoder by bands of queries: on CPUs faster than PyTorch's own, which is made for many heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moebius.autoencoder.kl_layers import Attention
from moebius.fast.fold import ChannelsLastGroupNorm, linear
from moebius.fast.products import product

BAND = 512  # queries whose scores stay in the cache


class SingleHeadAttention(nn.Module):
    """Replacement of :class:`Attention`."""

    def __init__(self, layer: Attention) -> None:
        super().__init__()
        scale = layer.to_q.out_features**-0.5
        weights = [layer.to_q.weight * scale, layer.to_k.weight, layer.to_v.weight]
        biases = [layer.to_q.bias * scale, layer.to_k.bias, layer.to_v.bias]
        self.norm = ChannelsLastGroupNorm(layer.group_norm, affine=False)
        self.project = linear(torch.cat(weights), torch.cat(biases), layer.group_norm)
        (project_out,) = layer.to_out
        assert isinstance(project_out, nn.Linear)
        self.project_out = linear(project_out.weight, project_out.bias)

    def forward(self, planes: Tensor) -> Tensor:
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
