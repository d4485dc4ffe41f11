"""Pascal VOC: XML with boxes, in pixels counted from 1, the last one included."""

import re
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from pipeline.config.shapes import BOX, POLYGON
from pipeline.masks.label_files.labelled import LabelFile, Labelled, stated_size


def parse_voc(data: bytes) -> LabelFile:
    """Parse a file of Pascal VOC; objects may have a polygon beside their box, as some tools write it.

    Raises:
        ValueError, TypeError: it is none, or declares a document type, whose entities could grow without bound.
    """
    root = _parse_xml(data)
    if root.tag != "annotation":
        raise ValueError(f"its root must be annotation, got {root.tag[:40]}")
    size = root.find("size")
    stated = None if size is None else stated_size(_whole(size, "height"), _whole(size, "width"))
    return LabelFile([_object(found) for found in root.findall("object")], stated)


def _parse_xml(data: bytes) -> Element:
    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, _refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ValueError(f"not XML: {error}") from error
    return builder.close()


def _refuse(*_: object) -> None:
    raise ValueError("a label file must not declare a document type")


def _object(found: Element) -> Labelled:
    label = (found.findtext("name") or "").strip()
    polygon, box = found.find("polygon"), found.find("bndbox")
    if polygon is not None and len(polygon):
        return Labelled(label, {POLYGON: _points(polygon)})
    if box is None:
        raise ValueError(f"the object {label[:40]!r} has neither bndbox nor polygon")
    left, top, right, bottom = (_number(box, name) for name in ("xmin", "ymin", "xmax", "ymax"))
    return Labelled(label, {BOX: [left - 1, top - 1, right, bottom]})


def _points(polygon: Element) -> list[float]:
    """Return x and y of the corners: elements x1, y1, x2, y2 …, or elements of one point each."""
    if polygon.find("pt") is not None:
        return [_number(point, name) for point in polygon.findall("pt") for name in ("x", "y")]
    numbers = sorted({int(match[1]) for part in polygon if (match := re.fullmatch(r"x(\d{1,6})", part.tag))})
    return [_number(polygon, f"{name}{number}") for number in numbers for name in ("x", "y")]


def _number(parent: Element, name: str) -> float:
    text = (parent.findtext(name) or "").strip()
    try:
        return int(text) if re.fullmatch(r"-?\d{1,18}", text) else float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, got {text[:40]!r}") from None


def _whole(parent: Element, name: str) -> int:
    return round(_number(parent, name)) if (parent.findtext(name) or "").strip() else 0
