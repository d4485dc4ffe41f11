"""``mark``: a semi-transparent mark of the user's own, whose picture is known."""

from typing import TYPE_CHECKING

from pipeline.errors import ConfigError
from pipeline.masks.kinds.static import StaticMask

if TYPE_CHECKING:
    from pipeline.codecs.photo import Photo
    from pipeline.masks.drawn import DrawnMask


class KnownMark(StaticMask):
    """One picture with transparency that was put over all photos: computed out of them where it can be."""

    own_keys = ("missing",)  # since no listing tells which photos have no mark
    bytes_per_pixel = 24  # a mark as large as the photo in floating point, and the photo without it

    def check(self, source_format: str) -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        super().check(source_format)
        if self.config.invert:
            raise ConfigError("mask.invert has no meaning for mask.kind=mark")
        if self.config.resize:
            raise ConfigError("mask.resize has no meaning for mask.kind=mark; set mask.size")

    def may_be_upright(self, shape: tuple[int, ...], orientation: int) -> bool:
        """Return true: the place of a mark fits both the image as stored and as shown."""
        return True

    def draw(self, data: bytes, photo: "Photo", max_pixels: int) -> "DrawnMask":
        """See :class:`pipeline.masks.base.MaskKind`."""
        from pipeline.masks.mark.picture import read_mark
        from pipeline.masks.mark.removal import remove_mark

        return remove_mark(photo, read_mark(data, max_pixels), self.config)
