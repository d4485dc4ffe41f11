"""Inpainting of photos of any size: windows around holes, the model in batches of one shape, exact compositing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moebius.inference.pictures import Picture, open_mask, open_photo
from moebius.inference.window_inpainter import WindowInpainter
from moebius.windows.compositing import keep_colours
from moebius.windows.holes import Box
from moebius.windows.painting import Painting, SecondPass
from moebius.windows.planning import plan_windows
from moebius.windows.seeds import window_seed


@dataclass(frozen=True)
class Cost:
    """Work for the model.

    Args:
        windows: shown to the model, in all passes.
        evaluations: of the denoiser, one window each; a guided step takes two.
    """

    windows: int
    evaluations: int


class Inpainter(WindowInpainter):
    """A denoiser and an autoencoder on one device, ready to repaint whole photos, and single windows of them.

    >>> inpainter = Inpainter.from_pretrained("nano")
    >>> photo, mask = np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64), bool)
    >>> inpainter([photo], [mask], [0])[0].shape
    (48, 64, 3)
    """

    def __call__(
        self,
        images: Sequence[Picture],
        masks: Sequence[Picture],
        seeds: Sequence[int],
        on_progress: Callable[[int, int], object] | None = None,
    ) -> list[Any]:
        """Repaint photos under their masks; every other pixel is preserved.

        Args:
            images: arrays of uint8, images of Pillow, or paths, of any sizes: colour, (H, W, 3), or grey, (H, W), and
                both with alpha, which stays.
            masks: (H, W) bool each, true = repaint; or images of Pillow or paths, whose white is repainted.
            seeds: one per photo; a result depends only on its photo, mask and seed.
            on_progress: called after each batch with the number of finished windows and of all.

        Returns:
            An array for each array, of the same shape; for an image or a path an image, of the same mode unless that
            was a palette or bilevel.

        Raises:
            ValueError: lists of different lengths, an image and mask that do not fit each other, or pixels of another
                kind.
            OSError: a file cannot be read.
            FloatingPointError: the model produced NaN or infinite pixels.
        """
        if not len(images) == len(masks) == len(seeds):
            raise ValueError(f"got {len(images)} images, {len(masks)} masks and {len(seeds)} seeds")
        opened, holes = [open_photo(image) for image in images], [open_mask(mask) for mask in masks]
        filled = self._filled([photo.rgb for photo in opened], holes, seeds, on_progress)
        return [photo.restored(*result) for photo, *result in zip(opened, filled, holes, strict=True)]

    def _filled(
        self,
        images: Sequence[np.ndarray],
        masks: Sequence[np.ndarray],
        seeds: Sequence[int],
        on_progress: Callable[[int, int], object] | None,
    ) -> list[np.ndarray]:
        """Repaint photos, (H, W, 3) uint8, under masks, (H, W) bool."""
        results = [image.copy() for image in images]
        paintings = []
        for image, mask, result in zip(images, masks, results, strict=True):
            check_pair(image, mask)
            paintings.append(self.plan(image, mask, result))
        done, total = 0, sum(painting.count + painting.refined_count for painting in paintings)
        while work := [  # one entry per window of any photo, so that batches fill across photos
            (painting, seed, number)
            for painting, seed in zip(paintings, seeds, strict=True)
            for number in range(painting.count)
        ]:
            batches = [work[start : start + self.batch_size] for start in range(0, len(work), self.batch_size)]
            for batch, fills in self._each(self._fill_windows, batches):
                for (painting, _, number), filled in zip(batch, fills, strict=True):
                    painting.paste(number, filled)
                done += len(batch)
                if on_progress:
                    on_progress(done, total)
            left = [index for index, painting in enumerate(paintings) if painting.advance()]
            paintings, seeds = [paintings[index] for index in left], [seeds[index] for index in left]
        return results

    def plan(self, image: np.ndarray, mask: np.ndarray, result: np.ndarray) -> Painting:
        """Plan the windows of a photo; their fills will be written into ``result``, which has its shape."""
        settings, size_px = self.settings, self.window_px
        windows = plan_windows(mask, size_px, settings.context, settings.max_upscale)
        second = SecondPass(size_px, settings.refine) if settings.refine else None
        return Painting(image, mask, windows, result, Box(0, 0, *mask.shape), second, settings.candidates)

    def cost(self, mask: np.ndarray) -> Cost:
        """Count the work that the holes of a photo are, (H, W) bool, true = repaint."""
        settings, nothing = self.settings, np.empty((0, 0, 3), np.uint8)
        painting = self.plan(nothing, mask, nothing)
        windows, refined = painting.count, painting.refined_count
        return Cost(windows + refined, settings.photo_evaluations(windows, refined))

    def _fill_windows(self, batch: list[tuple[Painting, int, int]]) -> list[np.ndarray]:
        """Fill windows of one kind of round, given by painting, seed of the photo, and number."""
        cuts = [painting.cut(number, self.window_px) for painting, _, number in batch]
        seeds = [window_seed(seed, painting.name(number)) for painting, seed, number in batch]
        pixels, masks = [pixels for pixels, _ in cuts], [hole for _, hole in cuts]
        second = batch[0][0].refining
        if second is None:
            return self.fill(pixels, masks, seeds)
        generated = self.generate(pixels, masks, seeds, strength=second.strength, start="photo")
        return [keep_colours(*window) for window in zip(pixels, generated, masks, strict=True)]


def check_pair(image: np.ndarray, mask: np.ndarray) -> None:
    """Refuse an image and a mask that do not belong together.

    Raises:
        ValueError: wrong type or shape; the message says both.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
    if mask.dtype != np.bool_ or mask.shape != image.shape[:2]:
        raise ValueError(f"mask must be {image.shape[:2]} bool like its image, got {mask.shape} {mask.dtype}")
