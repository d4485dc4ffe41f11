"""``alpha``: what the image's own alpha channel makes transparent."""

from typing import TYPE_CHECKING

from pipeline.errors import SampleError
from pipeline.masks.base import MaskKind

if TYPE_CHECKING:
    import numpy as np

    from pipeline.codecs.photo import Photo
    from pipeline.masks.drawn import DrawnMask


class AlphaMasks(MaskKind):
    """Transparent pixels of the image."""

    def draw(self, data: bytes, photo: "Photo", max_pixels: int) -> "DrawnMask":
        """See :class:`pipeline.masks.base.MaskKind`."""
        import numpy as np

        from pipeline.masks.drawn import DrawnMask
        from pipeline.masks.values import MaskValues, at_threshold

        alpha = photo.alpha
        if alpha is None:
            raise SampleError("mask", "NoAlpha", f"mask.kind=alpha, but a {photo.mode} image has no transparency")
        values = MaskValues(np.iinfo(alpha.dtype).max - alpha)
        return DrawnMask(at_threshold(values, self.config, "the transparency of the image"))

    def revealed(self, photo: "Photo", mask: "np.ndarray") -> "Photo":
        """Return the photo with nothing transparent under the mask."""
        return photo if photo.alpha is None else photo.opaque(mask)  # of a corrected mask it may have none
