"""PPM and its relatives as a codec."""

import re

from PIL import Image

from pipeline.codecs.codec import Codec


class PpmCodec(Codec):
    """Portable maps."""

    def bits(self, image: Image.Image, data: bytes) -> int:
        """See :class:`pipeline.codecs.codec.Codec`."""
        if data[1:2] not in b"2356":
            return 8
        return int(re.sub(rb"#[^\n]*", b"", data[:1024]).split()[3]).bit_length()
