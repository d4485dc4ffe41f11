"""Removes a mark from a photo: finds it, computes what it covers, and says what only a model can fill."""

from dataclasses import dataclass

import numpy as np

from pipeline.codecs.photo import Photo
from pipeline.config.mask import MaskConfig
from pipeline.errors import SampleError
from pipeline.masks.drawn import DrawnMask
from pipeline.masks.mark.noise import noise_of, opacity_limit
from pipeline.masks.mark.picture import LUMA, Mark
from pipeline.masks.mark.places import Place, Shape, mark_shape, places_of
from pipeline.masks.mark.presence import best_shift, scales, strength
from pipeline.masks.mark.subtraction import subtract
from pipeline.masks.sizes import as_shown

REACH_PX = 2  # beyond the mark, into which colours of half the size are smeared
MARGIN_PX = REACH_PX + 2  # around a block, which decides about its border
WEAKEST = 0.5  # agreement below which a mark is not there


@dataclass(frozen=True)
class Found:
    """A mark in a photo.

    Args:
        mark: in the size that it has there.
        places: where it lies.
        agreement: 1 where its steps are as strong as given, 0 where they are missing or twice as strong; ``None`` where
            it makes none that could be seen.
    """

    mark: Mark
    places: list[Place]
    agreement: float | None


def remove_mark(photo: Photo, mark: Mark, config: MaskConfig) -> DrawnMask:
    """Return the photo with a mark computed out of it, and the mask of what is left to fill.

    Raises:
        SampleError: the mark does not fit, is not there (as configured), or the photo's colours cannot be computed.
    """
    if photo.mode == "CMYK":
        raise SampleError("mask", "UnsupportedMode", "a mark cannot be computed out of the inks of a CMYK image")
    shown = as_shown(photo.pixels, photo.orientation, config)
    shape = shown.shape[0], shown.shape[1]
    found = _find(shown, shape, mark, config)
    computed, hidden = np.zeros(photo.pixels.shape[:2], bool), np.zeros(photo.pixels.shape[:2], bool)
    if found.agreement is not None and found.agreement < WEAKEST:
        if config.missing == "fail":
            message = f"the mark agrees with the photo by {found.agreement:.0%} at its place"
            raise SampleError("mask", "MarkNotFound", f"{message}; mask.missing=empty passes such photos through")
        return DrawnMask(hidden, 0, found.agreement)
    pixels, noise = photo.pixels.copy(), noise_of(photo)
    limit = opacity_limit(noise) if config.max_opacity == "auto" else float(config.max_opacity)
    is_smeared = photo.format == "JPEG" and photo.encoder.get("subsampling", 0) > 0
    views = tuple(as_shown(each, photo.orientation, config) for each in (photo.pixels, computed, hidden, pixels))
    for place in found.places:
        _subtract_at(place, found.mark, views, (limit, noise / 255, is_smeared), photo.alpha is not None)
    return DrawnMask(hidden, len(found.places), found.agreement, pixels, computed & ~hidden, _text(found))


def _text(found: Found) -> str:
    first = found.places[0]
    return f"{first.left},{first.top} {first.width}x{first.height}"


def _find(shown: np.ndarray, shape: Shape, mark: Mark, config: MaskConfig) -> Found:
    """Return the mark where the configuration says, or where it fits best nearby."""

    def read(part: tuple[slice, slice]) -> np.ndarray:
        values = _colours(shown[part]) / np.float32(np.iinfo(shown.dtype).max)
        return values[..., 0] if values.shape[2] == 1 else values @ LUMA

    most_px, most_scale = config.find.get("shift_px", 0), config.find.get("scale", 0.0)
    best: tuple[float, Mark, list[Place]] | None = None
    for scale in scales(most_scale, mark_shape(mark.shape, shape, config)):
        size = mark_shape(mark.shape, shape, config, scale)
        try:
            places = places_of(size, shape, config)
        except SampleError:
            if best is None:  # as configured; a larger one need not fit
                raise
            continue
        sized, fit = mark.scaled(size), 0.0
        if config.find:
            fit, down, right = best_shift(read, shape, sized, places, most_px)
            places = [place.moved(down, right) for place in places]
        if best is None or fit > best[0]:
            best = fit, sized, places
    assert best is not None  # there is at least one scale
    _, sized, places = best
    factor = strength(read, shape, sized, places)
    return Found(sized, places, None if factor is None else min(1.0, max(0.0, 1 - abs(1 - factor))))


def _colours(part: np.ndarray) -> np.ndarray:
    """Return a view of the colours of pixels, (h, w, 1 or 3), without a last band of opacity or of unknown meaning."""
    return part[..., None] if part.ndim == 2 else part[..., : 1 if part.shape[2] <= 2 else 3]


def _subtract_at(
    place: Place,
    mark: Mark,
    views: tuple[np.ndarray, ...],
    how: tuple[float, float, bool],
    has_alpha: bool,
) -> None:
    """Write the computed colours of one place into the last of four views, and what became of pixels into two.

    Args:
        place: of the mark.
        mark: in the size of its place.
        views: the photo as it is (read only), computed pixels, hidden pixels, the photo that is changed.
        how: further arguments of :func:`pipeline.masks.mark.subtraction.subtract`.
        has_alpha: whether the last band of the photo is opacity.
    """
    original, computed, hidden, pixels = views
    full = np.iinfo(pixels.dtype).max
    for block, where in place.grown(REACH_PX).blocks():
        rows, columns = (slice(side.start - REACH_PX, side.stop - REACH_PX) for side in where)
        wide = block.grown(MARGIN_PX).inside(original.shape[:2])
        inner = block.inside(original.shape[:2])
        if wide is None or inner is None:
            continue
        seen, part = wide
        result = subtract(
            _colours(original[seen]) / np.float32(full), mark.around(rows, columns, MARGIN_PX).part(*part), *how
        )
        target = inner[0]
        cut = tuple(slice(to.start - at.start, to.stop - at.start) for to, at in zip(target, seen, strict=True))
        known, unknown, region = result.computed[cut], result.hidden[cut], pixels[target]
        if has_alpha:  # what a mark makes of transparent pixels depends on the tool
            opaque = region[..., -1] == full
            unknown, known = unknown | (known & ~opaque), known & opaque
        np.copyto(_colours(region), np.rint(result.values[cut] * full).astype(pixels.dtype), where=known[..., None])
        computed[target] |= known
        hidden[target] |= unknown
