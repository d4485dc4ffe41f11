"""3×3 convolutions with 36 products for sixteen outputs; the plain way takes 144."""

from typing import TypeGuard

import torch
from torch import Tensor, nn

from moebius.fast.bands import bands
from moebius.fast.products import product

SIDE = 4  # outputs of a tile along each axis; it takes two inputs more
POINTS = (0, 1, -1, 0.5, -2)  # and infinity: with these, float32 is as accurate as in the plain convolution
BAND_TILES = 256  # enough rows for each of the 36 matrices, and maps of a band that stay in the cache


class WinogradConv(nn.Module):
    """Equals a 3×3 convolution of stride 1 and padding 1, to rounding of float32.

    Source: Lavin and Gray, arXiv 1509.09308, F(4×4, 3×3). A convolution is a product of polynomials read backwards:
    the values of the weights' polynomial at six points times those that stand for the inputs give the values from which
    the outputs follow. Along both axes it is the product of the two, and each of the 36 a matrix over the channels.
    The maps to these values and back from them are matrices, too: all work is in 38 products.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert is_plain(conv)
        to_values = _powers(3)
        weight = torch.einsum("ay,bx,oiyx->aboi", to_values, to_values, conv.weight.detach().double())
        from_inputs, to_outputs = torch.linalg.inv(_powers(SIDE + 2)).T, _powers(SIDE).T
        self.weight = _constant(weight.flatten(0, 1))  # (36, out, in)
        self.from_inputs = _constant(torch.kron(from_inputs, from_inputs))  # (36, 36)
        self.to_outputs = _constant(torch.kron(to_outputs, to_outputs))  # (16, 36)
        bias = conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
        self.bias = _constant(bias)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in, H, W) → (B, out, H, W), both channels-last in memory."""
        features = features.permute(0, 2, 3, 1)
        batch, height, width, _ = features.shape
        whole_height, whole_width = (-(-side // SIDE) * SIDE for side in (height, width))
        output = features.new_empty(batch, whole_height, whole_width, len(self.bias))
        rows = max(1, SIDE * BAND_TILES // whole_width) * SIDE
        for sample, band, padded in bands(features, rows, whole_height, whole_width):
            self._band(padded, output[sample, band])
        return output[:, :height, :width].permute(0, 3, 1, 2)

    def _band(self, padded: Tensor, output: Tensor) -> None:
        """(H + 2, W + 2, in) → (H, W, out)."""
        down, across = output.shape[0] // SIDE, output.shape[1] // SIDE
        reach = SIDE + 2
        tiles = padded.unfold(0, reach, SIDE).unfold(1, reach, SIDE).permute(3, 4, 0, 1, 2)
        values = (self.from_inputs @ tiles.reshape(reach * reach, -1)).view(reach * reach, down * across, -1)
        products = torch.stack([product(value, weight) for value, weight in zip(values, self.weight, strict=True)])
        outputs = (self.to_outputs @ products.flatten(1)).view(SIDE, SIDE, down, across, -1)
        torch.add(outputs.permute(2, 0, 3, 1, 4), self.bias, out=output.view(down, SIDE, across, SIDE, -1))


def is_plain(conv: nn.Module | None) -> TypeGuard[nn.Conv2d]:
    """Return whether a layer is a convolution that :class:`WinogradConv` can replace."""
    return (
        isinstance(conv, nn.Conv2d)
        and conv.kernel_size == (3, 3)
        and conv.stride == conv.dilation == (1, 1)
        and conv.padding == (1, 1)
        and conv.groups == 1
    )


def _powers(count: int) -> Tensor:
    """(6, count) float64: what so many coefficients are multiplied by to give a polynomial's value at each point."""
    rows = [[point**power for power in range(count)] for point in POINTS]
    return torch.tensor([*rows, [0] * (count - 1) + [1]], dtype=torch.float64)  # at infinity: the last coefficient


def _constant(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.float().contiguous(), requires_grad=False)
