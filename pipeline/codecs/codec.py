"""The interface of codecs: what a container needs beyond Pillow."""

from typing import Any, ClassVar

from PIL import Image

METRES_PER_INCH = 0.0254
MAX_METRIC_DPI = (2**31 - 1) * METRES_PER_INCH  # of formats that count dots per metre
Settings = dict[str, Any]


class Codec:
    """How one container is read and written; the defaults are those of a container that Pillow handles by itself.

    Attributes:
        dpi_limits: least and most that its resolution can say, in dots per inch; ``None`` where it keeps none.
        safe_settings: what works where the encoder refuses the settings of the source; ``None`` if nothing else does.
    """

    dpi_limits: ClassVar[tuple[float, float] | None] = None
    safe_settings: ClassVar[Settings | None] = None

    def bits(self, image: Image.Image, data: bytes) -> int:
        """Return the bits per channel of the file, where Pillow might reduce them to 8.

        Raises:
            ValueError, IndexError, TypeError: the file does not tell.
        """
        return 8

    def check_whole(self, image: Image.Image, data: bytes, stage: str) -> None:
        """Detect faults of the file that Pillow ignores.

        Raises:
            SampleError: missing or damaged pixels.
        """

    def stored_exif(self, data: bytes) -> bytes:
        """Return EXIF that replaces what Pillow reads; empty for none."""
        return b""

    def keep(self, image: Image.Image, data: bytes, kept: Settings) -> None:
        """Add what the encoder needs to keep of an opened file, to the metadata that all formats can keep."""

    def settings(self, source: Settings) -> Settings:
        """Return the arguments of Pillow's encoder.

        Args:
            source: what :meth:`keep` has kept of a file of this container; empty for a photo of another one.
        """
        return {}
