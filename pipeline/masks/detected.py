"""Masks that a detector finds in the image's pixels."""

from typing import TYPE_CHECKING

from pipeline.errors import ConfigError, SampleError
from pipeline.masks.base import MaskKind

if TYPE_CHECKING:
    from pipeline.codecs.photo import Photo
    from pipeline.masks.drawn import DrawnMask


class DetectorMasks(MaskKind):
    """Masks of what the detector of a kind in ``DETECTORS`` finds."""

    def draw(self, data: bytes, photo: "Photo", max_pixels: int) -> "DrawnMask":
        """See :class:`pipeline.masks.base.MaskKind`."""
        from pipeline.detection.detector import open_detector

        try:
            detector = open_detector(self.config)
        except ConfigError as error:
            raise SampleError("mask", "DetectorUnavailable", str(error)) from error
        return detector.find(photo.rgb())
