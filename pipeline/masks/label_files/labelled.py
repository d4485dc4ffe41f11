"""The content of a label file, whatever its format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_LABEL_BYTES = 64 << 20  # of a file; parsed it takes many times as much memory


@dataclass(frozen=True)
class Labelled:
    """One object.

    Args:
        label: name of its class, or the number of it.
        element: its shape, see :func:`pipeline.masks.shapes.drawing.draw_object`.
        score: confidence; ``None`` where the file states none.
    """

    label: str | int
    element: Mapping[str, Any]
    score: float | None = None


@dataclass(frozen=True)
class LabelFile:
    """The objects of an image.

    Args:
        objects: in the order of the file.
        size: height and width of the image as the file states it; ``None`` where it does not.
        box_format: of boxes.
        units: ``pixel`` or ``relative``.
    """

    objects: list[Labelled] = field(default_factory=list)
    size: tuple[int, int] | None = None
    box_format: str = "xyxy"
    units: str = "pixel"


def stated_size(height: Any, width: Any) -> tuple[int, int] | None:
    """Return the size that a file states; tools write nothing or zero where they do not know it."""
    return (int(height), int(width)) if height and width and int(height) and int(width) else None
