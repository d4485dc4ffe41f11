"""TIFF as a codec."""

from typing import ClassVar

from PIL import Image, TiffImagePlugin

from pipeline.codecs.codec import Codec, Settings
from pipeline.codecs.tiff import bands, jpeg, tags
from pipeline.codecs.tiff.integrity import check_pieces


class TiffCodec(Codec):
    """TIFF with the tags and compression of its source; those that Pillow cannot write are written by ``writer``."""

    safe_settings: ClassVar[Settings] = {"compression": "tiff_deflate"}

    def bits(self, image: Image.Image, data: bytes) -> int:
        """See :class:`pipeline.codecs.codec.Codec`."""
        return max(_tiff(image).tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))

    def check_whole(self, image: Image.Image, data: bytes, stage: str) -> None:
        """See :class:`pipeline.codecs.codec.Codec`."""
        check_pieces(_tiff(image), data, stage)

    def keep(self, image: Image.Image, data: bytes, kept: Settings) -> None:
        """See :class:`pipeline.codecs.codec.Codec`."""
        tiff = _tiff(image)
        kept["compression"] = tiff.info.get("compression", "raw")
        kept["tiffinfo"] = tags.kept_tags(tiff, (*tags.ALL, *tags.GEOGRAPHIC))
        kept["extra_samples"] = bands.extra_samples(tiff)
        if kept["compression"] == "jpeg":
            kept["jpeg"] = jpeg.stored_settings(tiff, data)
        if descriptive := tags.kept_tags(tiff, tags.DESCRIPTIVE):
            kept["exif"] = descriptive.tobytes()
        if TiffImagePlugin.X_RESOLUTION not in tiff.tag_v2:
            kept.pop("dpi", None)  # Pillow says 1

    def settings(self, source: Settings) -> Settings:
        """See :class:`pipeline.codecs.codec.Codec`."""
        return {
            "compression": source.get("compression", "tiff_deflate"),
            "tiffinfo": source.get("tiffinfo", Image.Exif()),
        }


def _tiff(image: Image.Image) -> TiffImagePlugin.TiffImageFile:
    assert isinstance(image, TiffImagePlugin.TiffImageFile)  # Pillow's class of this format
    return image
