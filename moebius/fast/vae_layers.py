"""Layers of the optimized autoencoder that need no kernels of our own: same weights, same results to rounding."""

from torch import Tensor, nn

from moebius.autoencoder.kl_layers import ResnetBlock
from moebius.fast.fold import linear
from moebius.fast.upsample import FoldedUpsample


class Resnet(nn.Module):
    """Replacement of :class:`ResnetBlock` with half of its maps: the others are changed in place."""

    def __init__(self, block: ResnetBlock) -> None:
        super().__init__()
        self.norm1: nn.Module = block.norm1
        self.norm2: nn.Module = block.norm2
        self.conv1, self.conv2 = block.conv1, block.conv2
        self.shortcut = block.conv_shortcut
        self.activation: nn.Module = nn.SiLU(inplace=True)

    def forward(self, planes: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H, W), both channels-last in memory."""
        hidden = self.conv1(self.activation(self.norm1(planes)))
        hidden = self.conv2(self.activation(self.norm2(hidden)))
        return hidden.add_(planes if self.shortcut is None else self.shortcut(planes))


class Pointwise(nn.Module):
    """Replacement of a 1×1 convolution."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.linear = linear(conv.weight, conv.bias)

    def forward(self, planes: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H, W), both channels-last in memory."""
        return self.linear(planes.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Upsampler(nn.Module):
    """Replacement of :class:`Upsample`."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.folded = FoldedUpsample(conv)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, 2H, 2W), both channels-last in memory."""
        return self.folded(features.permute(0, 2, 3, 1).contiguous()).permute(0, 3, 1, 2)
