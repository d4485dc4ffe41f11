"""Draws objects of tables; values may be lists, structs or text, as formats and writers have them."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.config.shapes import BOX, POLYGON, RLE
from pipeline.masks.canvas import Canvas
from pipeline.masks.shapes.columns import corners_in
from pipeline.masks.shapes.rows import FAULT


def draw_object(canvas: Canvas, element: Mapping[str, Any], box_format: str, units: str) -> None:
    """Draw an object.

    Args:
        canvas: to draw on.
        element: what :func:`pipeline.masks.shapes.rows.element_of` found.
        box_format: ``xyxy``, ``xywh`` or ``cxcywh``.
        units: ``pixel`` or ``relative``, of boxes and polygons.

    Raises:
        ValueError, TypeError, KeyError: it cannot be drawn.
    """
    if FAULT in element:
        raise ValueError(element[FAULT])
    if RLE in element:
        canvas.add_segment(_run_lengths(element[RLE], canvas.shape))
    elif POLYGON in element:
        for polygon in polygons_in(_value(element[POLYGON])):
            canvas.add_polygon(polygon, units)
    else:
        canvas.add_box(_box(_value(element[BOX]), box_format), box_format, units)


def polygons_in(value: Any) -> Iterator[list[float]]:
    """Yield polygons as flat lists of x and y.

    Args:
        value: a flat list, a list of points (pairs, or with keys x and y), lists of x and of y, or a list of polygons.

    Raises:
        ValueError: none of these.
    """
    if isinstance(value, Mapping) and isinstance(value.get("x"), list) and isinstance(value.get("y"), list):
        yield [part for point in zip(value["x"], value["y"], strict=True) for part in point]
    elif not isinstance(value, list):
        raise ValueError(f"{str(value)[:40]!r} is not a polygon")
    elif all(isinstance(part, int | float) for part in value):
        yield value
    elif all(isinstance(part, Mapping) and part.keys() >= {"x", "y"} for part in value):
        yield [part for point in value for part in (point["x"], point["y"])]
    elif all(isinstance(part, list) and len(part) == 2 and _are_numbers(part) for part in value):
        yield [part for point in value for part in point]
    else:
        for part in value:
            yield from polygons_in(part)


def _are_numbers(values: list[Any]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _box(value: Any, box_format: str) -> list[Any]:
    if isinstance(value, Mapping):
        corners = corners_in(value, box_format)
        if not corners:
            raise ValueError(f"a box has the keys {', '.join(value)}, which are not of mask.box_format={box_format}")
        return [_number(value[name]) for name in corners]
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError(f"{str(value)[:60]!r} is not a box of four numbers")
    return [_number(part) for part in value]


def _number(value: Any) -> Any:
    """Return text as the number that it is, so that whole numbers stay such."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,18}\s*", value) else value


def _value(value: Any) -> Any:
    """Return the value of a text column: JSON, or numbers between commas, semicolons or blanks."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return [float(part) for part in re.split(r"[\s,;]+", value.strip(" \t[]()"))]


def _run_lengths(value: Any, shape: tuple[int, int]) -> dict[str, Any]:
    """Return run lengths as COCO has them; bare ones are of the whole picture."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        value = json.loads(value)
    return dict(value) if isinstance(value, Mapping) else {"counts": value, "size": list(shape)}
