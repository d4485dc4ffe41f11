"""Sample grids as PNG files."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor


def write_grid(rows: list[Tensor], target: Path) -> None:
    """Write rows of images, each (B, 3, H, W) in [-1, 1], as one picture, one sample per column."""
    picture = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)  # (3, rows·H, B·W)
    pixels = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte()
    Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy()).save(target)
