"""Computes where a mark lies in a photo."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config.mask import MaskConfig
from pipeline.errors import SampleError

Shape = tuple[int, int]  # height and width
MAX_OVER = 2  # sides of the photo that a repeated mark may have
MAX_PLACES = 100_000
BLOCK_PX = 1024  # side of the blocks in which large marks are processed, to bound memory


@dataclass(frozen=True)
class Place:
    """A rectangle of the photo as the mark was put on it, which may reach over its border.

    Args:
        top, left: of its first pixel.
        height, width: in pixels.
    """

    top: int
    left: int
    height: int
    width: int

    def moved(self, down: int, right: int) -> "Place":
        """Return the rectangle elsewhere."""
        return Place(self.top + down, self.left + right, self.height, self.width)

    def grown(self, pixels: int) -> "Place":
        """Return the rectangle with a border around it."""
        return Place(self.top - pixels, self.left - pixels, self.height + 2 * pixels, self.width + 2 * pixels)

    def blocks(self) -> "Iterator[tuple[Place, tuple[slice, slice]]]":
        """Yield its blocks of at most ``BLOCK_PX`` a side, and their rows and columns in it."""
        for top in range(0, self.height, BLOCK_PX):
            for left in range(0, self.width, BLOCK_PX):
                height, width = min(BLOCK_PX, self.height - top), min(BLOCK_PX, self.width - left)
                block = Place(self.top + top, self.left + left, height, width)
                yield block, (slice(top, top + height), slice(left, left + width))

    def inside(self, shape: Shape) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
        """Return rows and columns of a photo that it covers, and its own that lie there; ``None`` outside the photo."""
        top, left = max(0, self.top), max(0, self.left)
        bottom, right = min(shape[0], self.top + self.height), min(shape[1], self.left + self.width)
        if top >= bottom or left >= right:
            return None
        return (slice(top, bottom), slice(left, right)), (
            slice(top - self.top, bottom - self.top),
            slice(left - self.left, right - self.left),
        )


def mark_shape(own: Shape, shape: Shape, config: MaskConfig, scale: float = 1.0) -> Shape:
    """Return the size of a mark in a photo.

    Args:
        own: height and width of the mark's file.
        shape: height and width of the photo as the mark was put on it.
        config: ``size``.
        scale: factor on top.
    """
    factor = scale if config.size is None else scale * config.size * shape[1] / own[1]
    return max(1, round(own[0] * factor)), max(1, round(own[1] * factor))


def places_of(mark: Shape, shape: Shape, config: MaskConfig) -> list[Place]:
    """Return where a mark lies, by its anchor, offset and repetition.

    Args:
        mark: its height and width in the photo.
        shape: height and width of the photo as the mark was put on it.
        config: ``anchor``, ``offset`` and ``repeat``.

    Raises:
        SampleError: the photo is smaller than the mark, or the mark lies outside.
    """
    sizes = f"the mark is {mark[1]}x{mark[0]} pixels, the photo {shape[1]}x{shape[0]}"
    too_large = mark[0] > shape[0] or mark[1] > shape[1]
    if too_large and (not config.repeat or max(mark) > MAX_OVER * max(shape)):
        raise SampleError("mask", "MarkTooLarge", f"{sizes}; mask.size=0.2 makes it a fifth of the photo's width")
    anchor = config.anchor or "top-left"
    vertical, horizontal = ("center", "center") if anchor == "center" else anchor.split("-")
    top = _start(mark[0], shape[0], vertical, config.offset[1])
    left = _start(mark[1], shape[1], horizontal, config.offset[0])
    tops, lefts = range(top, top + 1), range(left, left + 1)
    if config.repeat:
        step_x, step_y = (mark[1], mark[0]) if config.repeat is True else config.repeat
        if step_x < mark[1] or step_y < mark[0]:
            raise SampleError("mask", "MarkTooLarge", f"{sizes}; mask.repeat={config.repeat} lets marks overlap")
        tops, lefts = _repeated(top, mark[0], step_y, shape[0]), _repeated(left, mark[1], step_x, shape[1])
    if len(tops) * len(lefts) > MAX_PLACES:
        raise SampleError("mask", "MarkTooSmall", f"{sizes}; it would repeat {len(tops) * len(lefts)} times")
    places = [Place(y, x, *mark) for y in tops for x in lefts]
    if not any(place.inside(shape) for place in places):
        raise SampleError("mask", "MarkTooLarge", f"{sizes}; mask.offset={config.offset} puts it outside")
    return places


def _start(length: int, whole: int, side: str, offset: int) -> int:
    if side == "center":
        return (whole - length) // 2 + offset
    return offset if side in ("top", "left") else whole - length - offset


def _repeated(start: int, length: int, step: int, whole: int) -> range:
    """Return the starts of all repetitions that touch the photo."""
    return range(start - (start + length - 1) // step * step, whole, step)
