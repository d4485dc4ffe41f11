"""LabelMe: JSON with shapes, in pixels of the image as it was shown."""

import base64
import math
from typing import Any

from pipeline.config.shapes import BOX, POLYGON
from pipeline.masks.label_files.labelled import LabelFile, Labelled, stated_size

CIRCLE_CORNERS = 120
PICTURE = "picture"  # key of a shape that is a mask file, with its top left corner
_POLYGONS = ("polygon", "oriented_rectangle", "rotation", "quadrilateral")
_WITHOUT_AREA = ("point", "points", "line", "linestrip")


def parse_labelme(found: dict[str, Any]) -> LabelFile:
    """Parse the JSON of a LabelMe file; shapes without an area, such as lines, are polygons of none.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """
    objects = [_object(shape) for shape in found["shapes"]]
    return LabelFile(objects, stated_size(found.get("imageHeight"), found.get("imageWidth")))


def _object(shape: dict[str, Any]) -> Labelled:
    kind, points = shape.get("shape_type") or "polygon", shape["points"]
    label = str(shape["label"])
    if kind == "rectangle" and len(points) == 2:
        (x1, y1), (x2, y2) = points
        return Labelled(label, {BOX: [min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)]})
    if kind == "circle":
        return Labelled(label, {POLYGON: _circle(*points)})
    if kind == "mask":
        picture = base64.b64decode(shape["mask"], validate=True)
        return Labelled(label, {PICTURE: picture, "at": [round(value) for value in points[0]]})
    if kind not in (*_POLYGONS, *_WITHOUT_AREA, "rectangle"):
        raise ValueError(f"a shape of the type {kind!r} cannot be drawn")
    return Labelled(label, {POLYGON: points[:1] if kind in _WITHOUT_AREA else points})


def _circle(centre: list[float], edge: list[float]) -> list[float]:
    (x, y), radius = centre, math.dist(centre, edge)
    angles = [2 * math.pi * index / CIRCLE_CORNERS for index in range(CIRCLE_CORNERS)]
    return [part for angle in angles for part in (x + radius * math.cos(angle), y + radius * math.sin(angle))]
