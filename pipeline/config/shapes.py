"""Words for annotations: roles of columns, the names that four columns of a box have, and formats of label files."""

from collections.abc import Mapping
from typing import Any

from pipeline.errors import ConfigError

SAMPLE, BOX, POLYGON, RLE, SCORE, OBJECTS = ROLES = ("sample", "box", "polygon", "rle", "score", "objects")
LABEL_FORMATS = ("auto", "yolo", "labelme", "voc", "sa1b")
# Four columns, or four keys of a struct, that are a box, by its format.
CORNERS = {
    "xyxy": (
        ("x1", "y1", "x2", "y2"),
        ("xmin", "ymin", "xmax", "ymax"),
        ("x_min", "y_min", "x_max", "y_max"),
        ("left", "top", "right", "bottom"),
    ),
    "xywh": (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height")),
    "cxcywh": (("cx", "cy", "w", "h"), ("x_center", "y_center", "width", "height"), ("xc", "yc", "w", "h")),
}


def check_roles(columns: Mapping[str, Any]) -> None:
    """Check the keys and values of ``mask.columns``.

    Raises:
        ConfigError: naming the key.
    """
    for role, name in columns.items():
        if role not in ROLES:
            raise ConfigError(f"mask.columns: a key must be one of {', '.join(ROLES)}, got {role!r}")
        is_box = role == BOX and isinstance(name, list) and len(name) == 4 and all(isinstance(one, str) for one in name)
        if not is_box and not (isinstance(name, str) and name):
            kinds = "the name of a column, or of four columns" if role == BOX else "the name of a column"
            raise ConfigError(f"mask.columns.{role} must be {kinds}, got {name!r}")


def check_expression(key: str, expression: str | None, subject: str) -> None:
    """Refuse an empty SQL expression.

    Args:
        key: of the configuration that holds it.
        expression: of a user; ``None`` where there is none.
        subject: whose columns it is over.

    Raises:
        ConfigError: naming the key.
    """
    if expression is not None and not expression.strip():
        raise ConfigError(f"{key} must be an SQL expression over the columns of {subject}, or null")
