"""Registry of codecs: one line for each container that Pillow does not handle by itself."""

from pipeline.codecs.codec import Codec
from pipeline.codecs.jpeg.codec import JpegCodec
from pipeline.codecs.other_containers.bmp_alpha import BmpCodec
from pipeline.codecs.other_containers.ppm import PpmCodec
from pipeline.codecs.png.codec import PngCodec
from pipeline.codecs.tiff.codec import TiffCodec
from pipeline.codecs.webp.settings import WebpCodec

_PLAIN = Codec()
_CODECS: dict[str | None, Codec] = {
    "JPEG": JpegCodec(),
    "MPO": JpegCodec(),
    "PNG": PngCodec(),
    "WEBP": WebpCodec(),
    "TIFF": TiffCodec(),
    "BMP": BmpCodec(),
    "PPM": PpmCodec(),
}


def codec_of(name: str | None) -> Codec:
    """Return the codec of a container, by Pillow's name."""
    return _CODECS.get(name, _PLAIN)
