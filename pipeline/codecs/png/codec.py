"""PNG as a codec."""

from PIL import Image

from pipeline.codecs.codec import MAX_METRIC_DPI, METRES_PER_INCH, Codec, Settings
from pipeline.codecs.png import chunks, metadata
from pipeline.codecs.png.integrity import check_rows


class PngCodec(Codec):
    """PNG with the chunks of its source; :func:`pipeline.codecs.png.chunks.encode_png` writes it."""

    dpi_limits = (METRES_PER_INCH, MAX_METRIC_DPI)

    def bits(self, image: Image.Image, data: bytes) -> int:
        """See :class:`pipeline.codecs.codec.Codec`."""
        return data[24]

    def check_whole(self, image: Image.Image, data: bytes, stage: str) -> None:
        """See :class:`pipeline.codecs.codec.Codec`."""
        check_rows(data, stage)

    def keep(self, image: Image.Image, data: bytes, kept: Settings) -> None:
        """See :class:`pipeline.codecs.codec.Codec`."""
        changed = map(metadata.still_true, chunks.metadata_chunks(data))
        kept["chunks"] = [chunk for chunk in changed if chunk]
        if profile := chunks.large_profile(data):
            kept["icc_profile"] = profile
