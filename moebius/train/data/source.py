"""Where training gets its crops and holes: packed photos in memory, or any other source of the same interface."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, distributed

from moebius.train.data.random_masks import random_mask
from moebius.train.photos import PhotoCrops

EXAMPLE_SEED = 7


@dataclass(frozen=True)
class Crops:
    """Crops with their holes.

    Args:
        images: (B, 3, H, W) float32 in [-1, 1].
        masks: (B, 1, H, W) float32, 1 = repaint.
        seeds: (B,) int64; all further randomness of a sample comes from its own.
        objects: (B,) bool: the hole is that of an object, which trains the category ids 10–19.
    """

    images: Tensor
    masks: Tensor
    seeds: Tensor
    objects: Tensor


@dataclass(frozen=True)
class EncodedCrops:
    """Crops with their holes, encoded before.

    Args:
        clean: (B, C, h, w) float32, scaled latents of the images.
        masked: (B, C, h, w) float32, those of the images with their holes blanked.
        masks: (B, 1, h, w) float32, 1 = repaint.
        seeds, objects: see :class:`Crops`.
    """

    clean: Tensor
    masked: Tensor
    masks: Tensor
    seeds: Tensor
    objects: Tensor


class CropSource(Protocol):
    """A source of crops for one process of a training run."""

    def batch(self, batch_index: int, count: int) -> Crops | EncodedCrops:
        """Return the crops of a batch; they may be encoded where a denoiser is trained.

        Args:
            batch_index: number of the batch in the run. A source with a position, see :meth:`state`, goes on from there
                whatever the number is.
            count: crops in the batch.
        """
        ...

    def examples(self, count: int) -> Crops:
        """Return crops that are the same whenever they are asked for, to draw and to measure; the position stays."""
        ...

    def state(self) -> dict[str, int]:
        """Return the position behind the last batch, for a checkpoint; empty if a batch's number decides it."""
        ...

    def resume(self, state: Mapping[str, int]) -> None:
        """Go on from a position that :meth:`state` has returned."""
        ...


class PackedSource:
    """Random crops of packed photos with random holes, decided by the seed, the number of the batch and the process.

    Args:
        crops: the photos.
        kinds: kinds of masks, see :func:`random_mask`.
        seed: seed of everything.
    """

    def __init__(self, crops: PhotoCrops, kinds: Sequence[str], seed: int) -> None:
        self.crops, self.kinds, self.seed = crops, kinds, seed

    def batch(self, batch_index: int, count: int) -> Crops:
        """See :class:`CropSource`."""
        return self._draw(count, np.random.default_rng([self.seed, batch_index, process_index()]))

    def examples(self, count: int) -> Crops:
        """See :class:`CropSource`."""
        return self._draw(count, np.random.default_rng([self.seed, EXAMPLE_SEED]))

    def state(self) -> dict[str, int]:
        """See :class:`CropSource`."""
        return {}

    def resume(self, state: Mapping[str, int]) -> None:
        """See :class:`CropSource`."""

    def _draw(self, count: int, rng: np.random.Generator) -> Crops:
        images = self.crops.batch(count, rng)
        masks = np.stack([random_mask(self.crops.size_px, rng, self.kinds) for _ in range(count)])
        seeds = torch.from_numpy(rng.integers(2**62, size=count))
        return Crops(images, torch.from_numpy(masks).float()[:, None], seeds, torch.zeros(count, dtype=torch.bool))


def process_index() -> int:
    """Return the rank of this process; 0 for a single one."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def process_count() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1
