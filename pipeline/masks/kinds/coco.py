"""``coco``: polygons, run lengths and boxes in a file of COCO's format."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.masks.annotations import AnnotatedMasks, Spec, listed

if TYPE_CHECKING:
    from pipeline.masks.canvas import Canvas
    from pipeline.storage.storage import Storage


class CocoMasks(AnnotatedMasks):
    """Annotations of objects, of the chosen categories."""

    def annotations(self, storage: "Storage") -> Iterator[tuple[str, str]]:
        """See :class:`pipeline.masks.base.MaskKind`."""
        from pipeline.masks.coco_file import read_coco

        return read_coco(storage, self.config.categories, self.left_out)

    def drawn(self, parts: list[Spec], shape: tuple[int, int], orientation: int) -> "tuple[Canvas, int]":
        """See :class:`pipeline.masks.annotations.AnnotatedMasks`."""
        from pipeline.masks.canvas import Canvas

        size = self._annotated_size(parts, shape, orientation)
        canvas, segments = Canvas(size, self.if_turned(size, orientation)), listed(parts, "segments")
        for segment in segments:
            canvas.add_segment(segment)
        return canvas, len(segments)

    def _annotated_size(self, parts: list[Spec], shape: tuple[int, int], orientation: int) -> tuple[int, int]:
        """Return height and width of the picture that the coordinates refer to."""
        from pipeline.masks.sizes import annotated_shape

        sizes = {(int(part.get("height", shape[0])), int(part.get("width", shape[1]))) for part in parts}
        if len(sizes) > 1:
            raise ValueError(f"the file states several sizes of the image, {sorted(sizes)}")
        (stated,) = sizes
        return annotated_shape(stated, shape, orientation, self.config)
