"""The columns of a table of objects: which hold the image's name, the shapes and the score."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.config.shapes import BOX, CORNERS, OBJECTS, POLYGON, RLE, SAMPLE, SCORE
from pipeline.errors import ConfigError

SHAPES = (BOX, POLYGON, RLE)
# Columns that are looked for in this order, by role.
_NAMES = {
    SAMPLE: ("sample_id", "file_name", "filename", "image", "image_path", "path"),
    BOX: ("box", "boxes", "bbox", "bboxes"),
    POLYGON: ("polygon", "polygons", "segmentation", "segments"),
    RLE: ("rle", "rles", "mask_rle"),
    SCORE: ("score", "scores", "confidence", "conf"),
    OBJECTS: ("objects", "detections", "annotations", "predictions"),
}

_SINGLE = (BOX, POLYGON, RLE, OBJECTS)  # of other roles the first one counts


@dataclass(frozen=True)
class ShapeColumns:
    """The columns of a table.

    Args:
        sample: with the name of the image.
        shapes: by role; a box may be four columns.
        score: with the score; ``None`` where there is none.
        objects: with the objects of a row, whose fields then have the shapes; ``None`` where a row has them itself.
        fields: of these objects, as far as they are known.
    """

    sample: str
    shapes: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    score: str | None = None
    objects: str | None = None
    fields: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        """Return the columns to read, without those that only an expression names."""
        if self.objects:
            return {self.sample, self.objects}
        shapes = (name for found in self.shapes.values() for name in ([found] if isinstance(found, str) else found))
        return {self.sample, *shapes, *filter(None, [self.score])}


def find_columns(
    names: Collection[str],
    fields: Collection[str] | None,
    chosen: Mapping[str, Any],
    box_format: str,
    file: str,
    is_strict: bool = True,
) -> ShapeColumns:
    """Find the columns of a table.

    Args:
        names: of its columns.
        fields: of the objects in one of them; ``None`` where they are not known.
        chosen: names by role, see ``mask.columns``; others are looked for by their usual names.
        box_format: of four columns that are a box.
        file: for messages.
        is_strict: whether a shape must be found.

    Raises:
        ConfigError: a column is missing.
    """
    sample = _find(SAMPLE, names, chosen, file)
    if sample is None:
        raise ConfigError(
            f"{file} has no column with the name of the image, such as sample_id or file_name; it has "
            f"{', '.join(names)}: name it in mask.columns.sample"
        )
    objects = _find(OBJECTS, names, chosen, file)
    if objects and fields is None:
        return ShapeColumns(sample, objects=objects)
    inside, where = (fields or (), f"{file}, {objects}") if objects else (names, file)
    found: dict[str, str | tuple[str, ...]] = {}
    for role in SHAPES:
        name = _find(role, inside, chosen, where)
        if name is not None and name != sample:
            found[role] = name
    if isinstance(chosen.get(BOX), list) or BOX not in found:
        corners = chosen.get(BOX) or corners_in(inside, box_format)
        if corners:
            found[BOX] = tuple(corners)
    if not found and is_strict:
        raise ConfigError(f"{where} has no {_wanted(inside, box_format)}; it has {', '.join(inside)}")
    return ShapeColumns(sample, found, _find(SCORE, inside, chosen, where), objects, tuple(fields or ()))


def corners_in(names: Collection[str], box_format: str) -> Sequence[str] | None:
    """Return the four names that are a box of a format, if they are there."""
    return next((corners for corners in CORNERS[box_format] if set(corners) <= set(names)), None)


def _find(role: str, names: Collection[str], chosen: Mapping[str, Any], file: str) -> str | None:
    """Return the column of a role, or ``None``."""
    if role not in chosen:
        found = [name for name in _NAMES[role] if name in names]
        if len(found) > 1 and role in _SINGLE:
            several = " and ".join(found)
            raise ConfigError(f"{file} has the columns {several}: say which is meant in mask.columns.{role}")
        return found[0] if found else None
    wanted = [chosen[role]] if isinstance(chosen[role], str) else chosen[role]
    if missing := [name for name in wanted if name not in names]:
        raise ConfigError(f"{file} has no column {missing[0]}; it has {', '.join(names)}: see mask.columns.{role}")
    return chosen[role] if isinstance(chosen[role], str) else None


def _wanted(names: Collection[str], box_format: str) -> str:
    other = next((kind for kind in CORNERS if kind != box_format and corners_in(names, kind)), None)
    if other:
        return f"box of mask.box_format={box_format}, but columns of mask.box_format={other}"
    return "column box, polygon or rle, or four such as x1, y1, x2, y2: name it in mask.columns"
