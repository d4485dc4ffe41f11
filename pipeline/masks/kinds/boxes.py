"""``boxes``: boxes in JSON lines, or in a column of Parquet files or of a list."""

import codecs
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.config.mask import MaskConfig
from pipeline.config.rules import MaskPlace
from pipeline.errors import ConfigError
from pipeline.masks.annotations import AnnotatedMasks, Spec, listed
from pipeline.masks.base import MaskKind
from pipeline.masks.kinds.column import check_table

if TYPE_CHECKING:
    from pipeline.database import Database
    from pipeline.masks.canvas import Canvas
    from pipeline.storage.storage import Storage

NAME_KEYS = ("sample_id", "file_name")


class BoxMasks(AnnotatedMasks):
    """Boxes in a file of JSON lines, or in a column."""

    def __init__(self, config: MaskConfig) -> None:
        super().__init__(config)
        if config.column:
            self.place = MaskPlace(box_column=config.column)

    def check(self, source_format: str) -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        if self.config.column:
            check_table(source_format, ("parquet", "list"))

    def open(self, storage: "Storage", source: "Storage") -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        if self.place.is_annotated:
            super().open(storage, source)
        else:
            MaskKind.open(self, storage, source)

    def pair(self, database: "Database") -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        if self.place.is_annotated:
            super().pair(database)
        else:
            MaskKind.pair(self, database)

    def annotations(self, storage: "Storage") -> Iterator[tuple[str, str]]:
        """See :class:`pipeline.masks.base.MaskKind`."""
        return read_boxes(storage)

    def drawn(self, parts: list[Spec], shape: tuple[int, int], orientation: int) -> "tuple[Canvas, int]":
        """See :class:`pipeline.masks.annotations.AnnotatedMasks`."""
        from pipeline.masks.canvas import Canvas

        canvas, boxes = Canvas(shape, self.if_turned(shape, orientation)), listed(parts, "boxes")
        for box in boxes:
            canvas.add_box(box, self.config.box_format, self.config.box_units)
        return canvas, len(boxes)


def read_boxes(storage: "Storage") -> Iterator[tuple[str, str]]:
    """Yield samples and their boxes from lines such as ``{"sample_id": "a/b.jpg", "boxes": [[10, 20, 110, 60]]}``.

    Raises:
        ConfigError: an invalid line, with its number.
    """
    with storage.open("") as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                name = next(row[key] for key in NAME_KEYS if key in row)
                yield str(name), json.dumps({"boxes": list(row["boxes"])})
            except (ValueError, TypeError, KeyError, StopIteration) as error:
                raise ConfigError(
                    f"{storage}, line {number}: expected an object with sample_id (or file_name) and boxes"
                ) from error
