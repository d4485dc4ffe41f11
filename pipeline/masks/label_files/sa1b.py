"""SA-1B, the data set of Segment Anything: JSON with run lengths of every object."""

from typing import Any

from pipeline.config.shapes import RLE
from pipeline.masks.label_files.labelled import LabelFile, Labelled, stated_size


def parse_sa1b(found: dict[str, Any]) -> LabelFile:
    """Parse the JSON of a file of SA-1B.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """
    image = found["image"]
    objects = [Labelled("", {RLE: one["segmentation"]}, one.get("predicted_iou")) for one in found["annotations"]]
    return LabelFile(objects, stated_size(image.get("height"), image.get("width")))
