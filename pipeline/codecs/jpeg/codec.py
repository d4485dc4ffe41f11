"""JPEG as a codec."""

from typing import ClassVar

from PIL import Image, JpegImagePlugin

from pipeline.codecs.codec import Codec, Settings
from pipeline.codecs.jpeg import segments, settings


class JpegCodec(Codec):
    """JPEG with the tables, segments and sampling of its source."""

    dpi_limits = (1, 65535)
    safe_settings: ClassVar[Settings] = {"optimize": False, "progressive": False}

    def stored_exif(self, data: bytes) -> bytes:
        """Return the first EXIF; Pillow puts a second one behind it."""
        return segments.first_exif(data)

    def keep(self, image: Image.Image, data: bytes, kept: Settings) -> None:
        """See :class:`pipeline.codecs.codec.Codec`."""
        assert isinstance(image, JpegImagePlugin.JpegImageFile)
        kept |= settings.component_settings(image)
        kept["progressive"] = "progressive" in image.info
        kept["optimize"] = segments.has_optimized_tables(data)
        kept["segments"] = segments.metadata_segments(data)

    def settings(self, source: Settings) -> Settings:
        """See :class:`pipeline.codecs.codec.Codec`."""
        if "qtables" not in source:
            return {"quality": 95, "subsampling": 0}
        kept = {key: source.get(key, False) for key in ("qtables", "keep_rgb", "optimize", "progressive")}
        return kept | ({"subsampling": source["subsampling"]} if source["subsampling"] >= 0 else {})
