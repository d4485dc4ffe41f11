"""``shapes``: boxes, polygons and run lengths in tables, as detectors write them."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.config.mask import MaskConfig
from pipeline.errors import ConfigError
from pipeline.masks.annotations import AnnotatedMasks, Spec, listed
from pipeline.masks.base import LOCATIONS, MaskKind

if TYPE_CHECKING:
    from pipeline.codecs.photo import Photo
    from pipeline.masks.canvas import Canvas
    from pipeline.masks.drawn import DrawnMask
    from pipeline.masks.shapes.read import ShapeReader
    from pipeline.storage.storage import Storage


class ShapeMasks(AnnotatedMasks):
    """Objects in Parquet, CSV or JSON files: one file, those in a folder, or those that match a glob."""

    own_keys = ("columns", "where")
    are_images = False
    # What the last two choose is in the annotations of each sample, which its version tells apart.
    indifferent = (*LOCATIONS, "columns", "where")

    def __init__(self, config: MaskConfig) -> None:
        super().__init__(config)
        folder, slash, name = config.uri.rpartition("/")
        is_glob = any(mark in name for mark in "*?[{") and not os.path.isdir(config.uri)
        self.root_uri = f"{folder}{slash}" if is_glob else config.uri
        self._pattern = name if is_glob else None

    def check(self, source_format: str) -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        super().check(source_format)
        if self.config.categories:
            raise ConfigError("mask.categories has no meaning for mask.kind=shapes: choose by mask.where")

    def open(self, storage: "Storage", source: "Storage") -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        MaskKind.open(self, storage, source)
        self._reader(storage).check()

    def annotations(self, storage: "Storage") -> Iterator[tuple[str, str]]:
        """See :class:`pipeline.masks.base.MaskKind`."""
        reader = self._reader(storage)
        yield from reader.annotations()
        self.left_out.update({kind: count for kind, count in reader.left_out.items() if count})

    def _reader(self, storage: "Storage") -> "ShapeReader":
        from pipeline.masks.shapes.read import ShapeReader

        return ShapeReader(self.config, storage, self._pattern)

    def draw(self, data: bytes, photo: "Photo", max_pixels: int) -> "DrawnMask":
        """See :class:`pipeline.masks.base.MaskKind`."""
        drawn = super().draw(data, photo, max_pixels)
        scores = [part["score"] for part in json.loads(data) if part.get("score") is not None]
        return replace(drawn, score=max(scores, default=None))

    def drawn(self, parts: list[Spec], shape: tuple[int, int], orientation: int) -> "tuple[Canvas, int]":
        """See :class:`pipeline.masks.annotations.AnnotatedMasks`."""
        from pipeline.masks.canvas import Canvas
        from pipeline.masks.shapes.drawing import draw_object

        canvas, objects = Canvas(shape, self.if_turned(shape, orientation)), listed(parts, "objects")
        for one in objects:
            draw_object(canvas, one, self.config.box_format, self.config.box_units)
        return canvas, len(objects)
