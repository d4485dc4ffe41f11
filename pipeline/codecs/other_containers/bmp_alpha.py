"""BMP as a codec: detects transparency that Pillow ignores."""

from PIL import Image

from pipeline.codecs.codec import MAX_METRIC_DPI, Codec
from pipeline.errors import SampleError

_HEADER_BYTES, _COMPRESSION, _ALPHA_MASK = 14, 30, 66
_BY_MASKS = (3, 6)
_MIN_ALPHA_MASK_HEADER_BYTES = 56  # bytes of the header


def has_lost_alpha(image: Image.Image, data: bytes) -> bool:
    """Return whether a BMP that was opened without alpha has an alpha mask.

    Without such a mask, the format gives the fourth byte of a pixel no meaning.
    """
    is_masked = (
        _number(data, _COMPRESSION) in _BY_MASKS and _number(data, _HEADER_BYTES) >= _MIN_ALPHA_MASK_HEADER_BYTES
    )
    return is_masked and image.mode not in ("RGBA", "LA") and _number(data, _ALPHA_MASK) != 0


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


class BmpCodec(Codec):
    """BMP without alpha."""

    dpi_limits = (0, MAX_METRIC_DPI)

    def check_whole(self, image: Image.Image, data: bytes, stage: str) -> None:
        """See :class:`pipeline.codecs.codec.Codec`."""
        if has_lost_alpha(image, data):
            message = "BMP with an unsupported kind of alpha; save it with pixels of 32 bits, or as PNG"
            raise SampleError(stage, "UnsupportedMode", message)
