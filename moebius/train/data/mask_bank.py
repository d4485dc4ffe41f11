"""Random masks drawn once, stored in few bytes, and varied where training needs many per second.

``python -m moebius.train.data.mask_bank FILE.npz [--count 10000] [--size 128]`` draws masks of every kind.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moebius.train.data.random_masks import BRUSHES, random_mask

MAX_SHIFT = 0.25  # of the side


def draw_masks(count: int, size_px: int, seed: int) -> dict[str, np.ndarray]:
    """Draw ``count`` masks of every kind of ``random_masks.BRUSHES``: (count, size, size) bool by kind."""
    return {
        kind: np.stack([random_mask(size_px, np.random.default_rng([seed, part, i]), (kind,)) for i in range(count)])
        for part, kind in enumerate(BRUSHES)
    }


def write_masks(masks: Mapping[str, np.ndarray], path: Path) -> None:
    """Store masks as bits; each row as its difference to the one above, which compresses better."""
    stored: dict[str, Any] = {}
    for kind, drawn in masks.items():
        changes = drawn.copy()
        changes[:, 1:] ^= drawn[:, :-1]
        stored[kind] = np.packbits(changes, axis=-1)
    np.savez_compressed(path, **stored)


def read_masks(path: Path) -> dict[str, np.ndarray]:
    """Read what :func:`write_masks` stored."""
    with np.load(path, allow_pickle=False) as stored:
        changes = {kind: np.unpackbits(stored[kind], axis=-1).astype(bool) for kind in stored.files}
    return {kind: np.logical_xor.accumulate(rows, axis=1) for kind, rows in changes.items()}


class MaskBank:
    """Masks on a device, varied by flips, transposes and shifts.

    Args:
        masks: (N, size, size) bool by kind.
        device: where they are kept, one byte per pixel.
    """

    def __init__(self, masks: Mapping[str, np.ndarray], device: torch.device) -> None:
        self.masks = {kind: torch.from_numpy(drawn).to(device) for kind, drawn in masks.items()}

    def draw(self, count: int, kinds: Sequence[str], generator: torch.Generator) -> Tensor:
        """Draw (count, 1, size, size) float32, 1 = repaint: kinds in equal parts, in order; none is empty."""
        sizes = [(count + len(kinds) - 1 - part) // len(kinds) for part in range(len(kinds))]
        drawn = [self._vary(self.masks[kind], part, generator) for kind, part in zip(kinds, sizes, strict=True)]
        return torch.cat(drawn)[:, None].float()

    def _vary(self, masks: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """(count, size, size) bool."""
        side, device = masks.shape[-1], masks.device
        chosen = masks[torch.randint(len(masks), (count,), generator=generator, device=device)]
        flips = torch.rand(3, count, generator=generator, device=device) < 0.5
        reach = int(MAX_SHIFT * side)
        shifts = torch.randint(-reach, reach + 1, (2, count), generator=generator, device=device)
        places = torch.arange(side, device=device) + shifts[..., None]  # (2, count, side)
        inside = (places >= 0) & (places < side)
        places = torch.where(flips[:2, :, None], side - 1 - places, places).clamp(0, side - 1)
        rows, columns = places[0, :, :, None], places[1, :, None, :]
        moved = chosen[torch.arange(count, device=device)[:, None, None], rows, columns]
        moved &= inside[0, :, :, None] & inside[1, :, None, :]
        varied = torch.where(moved.flatten(1).any(dim=1)[:, None, None], moved, chosen)
        return torch.where(flips[2, :, None, None], varied.mT, varied)


def main() -> None:
    """Draw masks of every kind and store them."""
    parser = argparse.ArgumentParser(prog="moebius.train.data.mask_bank", description=main.__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("--count", type=int, default=10_000, help="masks of each kind")
    parser.add_argument("--size", type=int, default=128, help="side in pixels")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write_masks(draw_masks(options.count, options.size, options.seed), options.target)


if __name__ == "__main__":
    main()
