"""Estimates the noise of a photo's values, and the opacity up to which a mark can be computed out of the photo."""

import numpy as np

from pipeline.codecs.photo import Photo

ROUNDING = 0.5  # grey levels of 255: of the photo and of the mark's opacity
LOSSY = 4.0  # grey levels of lossy files that do not tell: as JPEG of quality 75
ACCEPTED = 13.0  # grey levels of error in a computed pixel; a repainted one has more
MOST = 0.97  # above it a mark's own rounding decides


def noise_of(photo: Photo) -> float:
    """Return the standard deviation of a photo's values from what was encoded, in grey levels of 255.

    For a JPEG file it follows from the quantisation of brightness, by a fit to photos of qualities 60 … 98.
    """
    if tables := photo.encoder.get("qtables"):
        return max(ROUNDING, 0.88 * float(np.mean(tables[0])) ** 0.42)
    is_lossy = photo.format in ("AVIF", "HEIF") or (photo.format == "WEBP" and photo.encoder.get("quality") is not None)
    return LOSSY if is_lossy else ROUNDING


def opacity_limit(noise: float) -> float:
    """Return the opacity above which pixels are repainted: computing divides the noise by 1 less the opacity."""
    return min(MOST, max(0.0, 1 - noise / ACCEPTED))
