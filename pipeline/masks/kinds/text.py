"""``text``: text that was put over the image, found in its pixels."""

from pipeline.extras import check_extra
from pipeline.masks.detected import DetectorMasks


class TextMasks(DetectorMasks):
    """Overlaid text, found by a detector (the extra ``text``)."""

    def check_installed(self) -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        check_extra("text", "mask.kind=text")
