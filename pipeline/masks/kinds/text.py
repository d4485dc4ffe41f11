"""``text``: text that was put over the image, found in its pixels."""

from typing import TYPE_CHECKING

from pipeline.extras import check_extra
from pipeline.masks.base import MaskKind

if TYPE_CHECKING:
    from pipeline.codecs.photo import Photo
    from pipeline.masks.drawn import DrawnMask


class TextMasks(MaskKind):
    """Overlaid text, found by a detector (the extra ``text``)."""

    def check_installed(self) -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        check_extra("text", "mask.kind=text")

    def draw(self, data: bytes, photo: "Photo", max_pixels: int) -> "DrawnMask":
        """See :class:`pipeline.masks.base.MaskKind`."""
        from pipeline.detection.detector import open_detector

        return open_detector(self.config).find(photo.rgb())
