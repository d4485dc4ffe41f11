"""Parses a label file by its format, or by what it looks like."""

import json
from collections.abc import Callable
from typing import Any

from pipeline.masks.label_files.labelled import MAX_LABEL_BYTES, LabelFile
from pipeline.masks.label_files.labelme import parse_labelme
from pipeline.masks.label_files.sa1b import parse_sa1b
from pipeline.masks.label_files.voc import parse_voc
from pipeline.masks.label_files.yolo import parse_yolo


def _of_json(parse: Callable[[dict[str, Any]], LabelFile]) -> Callable[[bytes], LabelFile]:
    return lambda data: parse(_object(data))


_PARSERS: dict[str, Callable[[bytes], LabelFile]] = {
    "yolo": parse_yolo,
    "labelme": _of_json(parse_labelme),
    "voc": parse_voc,
    "sa1b": _of_json(parse_sa1b),
}


def parse_labels(data: bytes, label_format: str) -> LabelFile:
    """Parse a label file.

    Args:
        data: the file.
        label_format: one of ``LABEL_FORMATS``; ``auto`` tells XML and JSON by their first character, all else is YOLO.

    Raises:
        ValueError, TypeError, KeyError and the like: it is not of this format, or too large.
    """
    if len(data) > MAX_LABEL_BYTES:
        raise ValueError(f"a label file of {len(data)} bytes is larger than {MAX_LABEL_BYTES}")
    return _PARSERS[_looks_like(data) if label_format == "auto" else label_format](data)


def _looks_like(data: bytes) -> str:
    first = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if first == b"<":
        return "voc"
    if first != b"{":
        return "yolo"
    return "labelme" if "shapes" in _object(data) else "sa1b"


def _object(data: bytes) -> dict[str, Any]:
    found = json.loads(data.decode("utf-8-sig"))
    if not isinstance(found, dict):
        raise ValueError("the JSON of a label file must be an object with keys")
    return found
