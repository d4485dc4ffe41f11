"""Local-λ on CPUs: by tiles of AMX where a core has them and heads are wide."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from moebius.fast.cpu.arguments import address, is_bf16
from moebius.fast.cpu.compiled import kernels
from moebius.fast.cpu.group_norm import Norm
from moebius.fast.cpu.product import SIDE, has_tiles, parts_of, tiled
from moebius.fast.local_lambda import FoldedLocalLambda, TiledLocalLambda


def fuse_local(layer: FoldedLocalLambda) -> "FusedLocalLambda":
    """Return the replacement of a layer and of the sum after it."""
    if isinstance(layer, TiledLocalLambda) and has_tiles():
        return _TileLocalLambda(layer)
    return FusedLocalLambda(layer)


class FusedLocalLambda(nn.Module):
    """Local-λ with the norm in the product after it; the rest is PyTorch's."""

    def __init__(self, layer: FoldedLocalLambda) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, stream: Tensor) -> Tensor:
        """(B, H, W, C) float32 → the same, to which the layer's result was added."""
        layer = self.layer
        projected = layer.project(stream, norm=Norm(layer.norm.eps), dtype=layer.dtype)
        return self.add(projected, stream)

    def add(self, projected: Tensor, stream: Tensor) -> Tensor:
        """Add the result of queries, keys and values, (B, H, W, C + K + V), to a map (B, H, W, C) in place."""
        return stream.add_(self.layer.attend(projected))


class _TileLocalLambda(FusedLocalLambda):
    """Local-λ by tiles of queries, whose scores stay in the cache."""

    def __init__(self, layer: TiledLocalLambda) -> None:
        super().__init__(layer)
        self.taps: Tensor
        self.content_bias: Tensor
        filters = functional.pad(layer.filters, (0, -layer.window % SIDE))  # rows of whole vectors
        self.register_buffer("taps", tiled(filters.flatten(1).T, parts_of(layer)))
        self.register_buffer("content_bias", layer.content_bias.float())
        self.tile = layer.tile
        layer.taps = layer.taps.new_empty(0)  # laid out here: from now on the layer can only project

    def add(self, projected: Tensor, stream: Tensor) -> Tensor:
        """Add the result of queries, keys and values, (B, H, W, C + K + V), to a map (B, H, W, C) in place."""
        layer, (_, height, width, _) = self.layer, stream.shape
        if height % self.tile or width % self.tile:
            raise ValueError(f"a map of {height}×{width} positions has no whole tiles of {self.tile}")
        content = layer.split(projected)[2].float().add_(self.content_bias)
        kernels().local_lambda(
            address(projected),
            is_bf16(projected),
            *projected.shape[:3],
            layer.heads,
            layer.head_width,
            layer.window,
            self.tile,
            address(self.taps, torch.bfloat16),
            self.taps.shape[2],
            address(content, torch.float32),
            address(stream, torch.float32),
            torch.get_num_threads(),
        )
        return stream
