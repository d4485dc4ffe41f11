"""Nearest ×2 and the 3×3 convolution after it as nine products at the low resolution, a quarter of the work."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from moebius.fast.bands import bands
from moebius.fast.fold import linear

BAND = 2048  # positions on a CPU, whose maps stay in the cache


class FoldedUpsample(nn.Module):
    """Equals ``conv(interpolate(x, scale_factor=2, mode="nearest"))`` with a 3×3 convolution of padding 1.

    Along one axis, with weights w₀ w₁ w₂, their sum s, and d[i] = x[i] − x[i−1], the two outputs for input i are
    s·x[i] − w₀·d[i] and s·x[i] + w₂·d[i+1]: three products, where the convolution takes six. Along both axes it is
    the product of the two: s·x for all four outputs, two products of differences along each axis, four of mixed
    differences.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.kernel_size == (3, 3) and conv.stride == (1, 1) and conv.padding == (1, 1)
        rows = _per_output(conv.weight.detach(), dim=2)  # [sum, first, second], each (out, in, 3)
        grid = [_per_output(row, dim=2) for row in rows]
        self.shared = linear(grid[0][0], conv.bias)
        self.vertical = nn.ModuleList(linear(grid[1 + row][0]) for row in (0, 1))
        self.horizontal = nn.ModuleList(linear(grid[0][1 + column]) for column in (0, 1))
        self.mixed = nn.ModuleList(linear(grid[1 + row][1 + column]) for row in (0, 1) for column in (0, 1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, in) → (B, 2H, 2W, out)."""
        batch, height, width, _ = features.shape
        output = features.new_empty(batch, height, 2, width, 2, self.shared.outputs)
        if features.device.type != "cpu" or batch * height * width <= BAND:
            self._band(features, functional.pad(features, (0, 0, 1, 1, 1, 1)), output)
        else:
            for sample, rows, padded in bands(features, max(1, BAND // width), height, width):
                self._band(features[sample, rows][None], padded[None], output[sample, rows][None])
        return output.view(batch, 2 * height, 2 * width, -1)

    def _band(self, features: Tensor, padded: Tensor, output: Tensor) -> None:
        """(B, H, W, in) and the same with what is around it, (B, H + 2, W + 2, in) → (B, H, 2, W, 2, out)."""
        height, width = features.shape[1:3]
        dtype = self.shared.dtype
        down = padded[:, 1:] - padded[:, :-1]  # (B, H + 1, W + 2, in)
        across = (padded[:, 1:-1, 1:] - padded[:, 1:-1, :-1]).to(dtype)  # (B, H, W + 1, in)
        mixed = (down[:, :, 1:] - down[:, :, :-1]).to(dtype)  # (B, H + 1, W + 1, in)
        down = down[:, :, 1:-1].to(dtype)
        shared = self.shared(features)
        columns = [self.horizontal[column](across[:, :, column : column + width]) for column in (0, 1)]
        for row in (0, 1):
            part = self.vertical[row](down[:, row : row + height]).add_(shared)
            for column in (0, 1):
                corner = self.mixed[2 * row + column](mixed[:, row : row + height, column : column + width])
                torch.add(corner.add_(part), columns[column], out=output[:, :, row, :, column])


def _per_output(weight: Tensor, dim: int) -> list[Tensor]:
    """Turn the three weights of an axis into those of x, and of the differences for the first and second output."""
    first, _, last = weight.unbind(dim)
    return [weight.sum(dim), -first, last]
