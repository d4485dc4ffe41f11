"""Random crops of photos that lie on the training device: no crop is made or moved by a CPU."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from moebius.train.photos import PhotosError


class DeviceCrops:
    """Crops as :class:`moebius.train.photos.PhotoCrops` draws them: random photo, scale, place and side.

    A crop of side s is taken from the copy of its photo that is halved until s is below twice the size of the crops,
    then resized by a triangle filter.

    Args:
        photos: (H, W, 3) uint8 each.
        size_px: side of the crops.
        device: where photos are kept and crops made; 4 bytes per pixel of the photos.

    Raises:
        PhotosError: a photo smaller than the crops, or none.
    """

    def __init__(self, photos: Sequence[np.ndarray], size_px: int, device: torch.device) -> None:
        shortest = [min(photo.shape[:2]) for photo in photos]
        if not photos or min(shortest) < size_px:
            raise PhotosError(f"photos must be at least {size_px} px, got {min(shortest, default=0)} px")
        self.size_px, self.device = size_px, device
        self.level_count = (max(shortest) // size_px).bit_length()
        levels = [_halvings(torch.from_numpy(np.array(photo)).to(device), self.level_count) for photo in photos]
        shapes = torch.tensor([[level.shape[:2] for level in part] for part in levels])
        heights, widths = shapes.unbind(-1)
        areas = (heights * widths).flatten()
        self.offsets = (areas.cumsum(0) - areas).view(len(photos), self.level_count).to(device)
        self.heights, self.widths = heights.to(device), widths.to(device)
        self.pixels = torch.cat([level.reshape(-1, 3) for part in levels for level in part])

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw (count, 3, size, size) float32 in [-1, 1]; the generator is of the device."""
        device, size_px = self.device, self.size_px
        photo = torch.randint(len(self.heights), (count,), generator=generator, device=device)
        draws = torch.rand(4, count, generator=generator, device=device)
        shortest = torch.minimum(self.heights[photo, 0], self.widths[photo, 0])
        side = size_px + (draws[0] * (shortest - size_px + 1)).long()
        level = torch.zeros_like(side)
        for halvings in range(1, self.level_count):
            level += side >= size_px << halvings
        side = side >> level
        height, width, offset = (part[photo, level] for part in (self.heights, self.widths, self.offsets))
        top, left = ((draw * (length - side + 1)).long() for draw, length in ((draws[1], height), (draws[2], width)))
        taps = torch.arange(2 * size_px, device=device)
        rows = torch.minimum(top[:, None] + taps, height[:, None] - 1)
        columns = torch.minimum(left[:, None] + taps, width[:, None] - 1)
        indices = offset[:, None, None] + rows[:, :, None] * width[:, None, None] + columns[:, None, :]
        window = self.pixels[indices].permute(0, 3, 1, 2).float()  # (count, 3, 2·size, 2·size)
        weights = triangle_weights(side, size_px)
        across = torch.where(draws[3, :, None, None] < 0.5, weights.flip(1), weights)
        crops = weights[:, None] @ window @ across.mT[:, None]
        return crops / 127.5 - 1


def triangle_weights(side: Tensor, size_px: int) -> Tensor:
    """Weights that resize (B,) sides to ``size_px`` as Pillow's bilinear filter does: (B, size, 2·size)."""
    scale = side[:, None, None] / size_px
    centres = (torch.arange(size_px, device=side.device)[:, None] + 0.5) * scale
    taps = torch.arange(2 * size_px, device=side.device)
    weights = (1 - ((taps + 0.5 - centres) / scale.clamp(min=1)).abs()).clamp(min=0) * (taps < side[:, None, None])
    return weights / weights.sum(dim=-1, keepdim=True)


def _halvings(photo: Tensor, count: int) -> list[Tensor]:
    """A photo, (H, W, 3) uint8, and its halved copies, ``count`` in all."""
    levels, floating = [photo], photo.permute(2, 0, 1)[None].float()
    for _ in range(count - 1):
        floating = functional.avg_pool2d(floating, 2) if min(floating.shape[-2:]) > 1 else floating
        levels.append(floating[0].permute(1, 2, 0).round().to(torch.uint8))
    return levels
