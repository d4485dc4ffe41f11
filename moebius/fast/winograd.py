"""3×3 convolutions with 16 products for four outputs, where the plain way takes 36."""

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

TILES = 256  # in a band: its products stay in the cache, and rows enough for each of the 16 matrices


class WinogradConv(nn.Module):
    """Equals a 3×3 convolution of stride 1 and padding 1, to rounding of float32.

    Source: Lavin and Gray, arXiv 1509.09308, F(2×2, 3×3). Along one axis, four inputs d give the two outputs of
    weights g by four products: (d₀ − d₂)·g₀, (d₁ + d₂)·(g₀ + g₁ + g₂)/2, (d₂ − d₁)·(g₀ − g₁ + g₂)/2 and
    (d₁ − d₃)·g₂. Along both axes it is the product of the two, and each product a matrix over the channels.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert is_plain(conv)
        sides = conv.weight.new_tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
        weight = torch.einsum("ay,bx,oiyx->abio", sides, sides, conv.weight.detach())
        self.weight = nn.Parameter(weight.flatten(0, 1).contiguous(), requires_grad=False)  # (16, in, out)
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach().clone(), requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in, H, W) → (B, out, H, W), both channels-last in memory."""
        batch, _, *size = features.shape
        height, width = (side + side % 2 for side in size)
        edges = (0, 0, 1, 1 + width - size[1], 1, 1 + height - size[0])
        padded = functional.pad(features.permute(0, 2, 3, 1), edges)  # (B, height + 2, width + 2, in)
        output = features.new_empty(batch, height, width, self.weight.shape[-1])
        rows = max(2, 2 * (2 * TILES // width))
        for sample in range(batch):
            for top in range(0, height, rows):
                bottom = min(height, top + rows)
                self._band(padded[sample, top : bottom + 2], output[sample, top:bottom])
        return output[:, : size[0], : size[1]].permute(0, 3, 1, 2)

    def _band(self, padded: Tensor, output: Tensor) -> None:
        """(H + 2, W + 2, in) → (H, W, out)."""
        height, width, channels = output.shape
        inputs = padded.new_empty(4, 4, height // 2, width // 2, padded.shape[-1])
        for row, lines in enumerate(_differences(padded, 0)):
            for column, (first, second, sign) in enumerate(_operands(lines, 1)):
                torch.add(first, second, alpha=sign, out=inputs[row, column])
        products = torch.bmm(inputs.view(16, -1, inputs.shape[-1]), self.weight)
        products = products.view(4, 4, height // 2, width // 2, channels)
        for row, halves in enumerate(_outputs(products)):
            for column, corner in enumerate(_outputs(halves)):
                output[row::2, column::2] = corner if self.bias is None else corner.add_(self.bias)


def is_plain(conv: nn.Module | None) -> TypeGuard[nn.Conv2d]:
    """Whether a layer is a convolution that :class:`WinogradConv` equals."""
    return (
        isinstance(conv, nn.Conv2d)
        and conv.kernel_size == (3, 3)
        and conv.stride == conv.dilation == (1, 1)
        and conv.padding == (1, 1)
        and conv.groups == 1
    )


def _operands(padded: Tensor, axis: int) -> list[tuple[Tensor, Tensor, int]]:
    """The two terms and the sign of each of the four differences along an axis, for every second position."""
    count = padded.shape[axis] - 2

    def at(offset: int) -> Tensor:
        places = [slice(None)] * padded.dim()
        places[axis] = slice(offset, offset + count, 2)
        return padded[tuple(places)]

    return [(at(0), at(2), -1), (at(1), at(2), 1), (at(2), at(1), -1), (at(1), at(3), -1)]


def _differences(padded: Tensor, axis: int) -> list[Tensor]:
    return [torch.add(first, second, alpha=sign) for first, second, sign in _operands(padded, axis)]


def _outputs(products: Tensor) -> tuple[Tensor, Tensor]:
    """Four products along the first axis → the two outputs."""
    return products[0] + products[1] + products[2], products[1] - products[2] - products[3]
