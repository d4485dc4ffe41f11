"""Products of maps with weights on CPUs: by the tiles of AMX where a core has them, else by PyTorch's libraries."""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from moebius.fast.cpu.arguments import address, check_width, is_bf16
from moebius.fast.cpu.compiled import kernels
from moebius.fast.cpu.group_norm import Norm, norm_arguments, normed
from moebius.fast.fold import Linear
from moebius.fast.local_lambda import FoldedLocalLambda
from moebius.fast.products import product

SIDE, STEP, PANEL = 16, 32, 32  # of tiles.h


@cache
def has_tiles() -> bool:
    """Return whether this processor multiplies tiles of bfloat16 and the system permits it."""
    return bool(kernels().has_tiles())


class Product(nn.Module):
    """Replacement of :class:`moebius.fast.fold.Linear` that can norm its input and add to its output.

    With tiles, sums are float32 whatever the type of the weight. A product in float32 is the sum of three of bfloat16,
    exact to 16 bits, or of six where the layer has to be exact.
    """

    def __init__(self, layer: Linear) -> None:
        super().__init__()
        self.dtype, self.inputs, self.outputs = layer.dtype, layer.weight.shape[1], layer.outputs
        self.bias, self.is_tiled = layer.bias, has_tiles()
        weight = tiled(layer.weight, parts_of(layer)) if self.is_tiled else layer.weight
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(
        self,
        features: Tensor,
        bias: Tensor | None = None,
        norm: Norm | None = None,
        into: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """(…, in) → (…, out).

        Args:
            features: float32 or bfloat16.
            bias: (out,), replaces the layer's own.
            norm: norm of the features; ``None``: they are normed already.
            into: map to add the product to, in place; ``None``: a new map is made.
            dtype: type of a new map, float32 or bfloat16.
        """
        bias = self.bias if bias is None else bias
        if self.is_tiled:
            return self._multiply_tiles(features.contiguous(), bias, norm, into, dtype)
        features = features.to(self.dtype) if norm is None else normed(features.contiguous(), norm, self.dtype)
        bias = None if bias is None else bias.to(self.dtype)
        output = product(features.flatten(0, -2), self.weight, bias).view(*features.shape[:-1], -1)
        return output.to(dtype) if into is None else into.add_(output)

    def _multiply_tiles(
        self, features: Tensor, bias: Tensor | None, norm: Norm | None, into: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        check_width(features, self.inputs)
        output = features.new_empty(*features.shape[:-1], self.outputs, dtype=dtype) if into is None else into
        if output.shape != (*features.shape[:-1], self.outputs) or (bias is not None and len(bias) != self.outputs):
            raise ValueError(f"expected {self.outputs} outputs and biases, got {output.shape}")
        bias = None if bias is None else bias.float()
        kernels().product(
            address(features),
            is_bf16(features),
            features.numel() // self.inputs,
            self.inputs,
            *norm_arguments(norm),
            address(self.weight, torch.bfloat16),
            self.weight.shape[2],
            self.outputs,
            address(bias),
            address(output),
            is_bf16(output),
            into is not None,
            torch.get_num_threads(),
        )
        return output


def parts_of(layer: Linear | FoldedLocalLambda) -> int:
    """Return how many bfloat16 numbers represent one weight: three hold all the bits of float32."""
    return 1 if layer.dtype == torch.bfloat16 else 3 if layer.is_exact else 2


def tiled(weight: Tensor, parts: int) -> Tensor:
    """(out, in) → (out / 32, in / 32, parts, 2, 16, 16, 2) bfloat16, as tiles.h reads it; zeros beyond the edges."""
    outputs, inputs = weight.shape
    rest = functional.pad(weight.float(), (0, -inputs % STEP, 0, -outputs % PANEL))
    split = []
    for _ in range(parts):
        split.append(rest.bfloat16())
        rest = rest - split[-1].float()
    tiles = torch.stack(split).view(parts, -(-outputs // PANEL), 2, SIDE, -(-inputs // STEP), SIDE, 2)
    return tiles.permute(1, 4, 0, 2, 5, 3, 6).contiguous()
