"""Masks that are pictures, wherever they lie."""

from typing import TYPE_CHECKING

from pipeline.masks.base import MaskKind

if TYPE_CHECKING:
    from pipeline.codecs.photo import Photo
    from pipeline.masks.drawn import DrawnMask


class PictureMasks(MaskKind):
    """A mask file of its own, decoded at the threshold and fitted to the image."""

    def draw(self, data: bytes, photo: "Photo", max_pixels: int) -> "DrawnMask":
        """See :class:`pipeline.masks.base.MaskKind`."""
        from pipeline.masks.decode import read_mask_file
        from pipeline.masks.drawn import DrawnMask
        from pipeline.masks.sizes import fitted

        return DrawnMask(fitted(read_mask_file(data, self.config, max_pixels), photo, self.config))

    def may_be_upright(self, shape: tuple[int, ...], orientation: int) -> bool:
        """Return whether the size of the mask does not tell how it was drawn."""
        from pipeline.masks.sizes import TURNED

        return orientation < TURNED or shape[0] == shape[1]
